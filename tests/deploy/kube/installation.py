"""Who installs: a shell with one of Helm's majors in a checkout, the README's commands for it, and what came of them as users see it."""

import http.client
import json
import os
import re
import stat
import subprocess
import threading
import time

import chart
from cluster.network import ready_pods
from kubelet import Failed

ROOT = chart.HERE.parents[2]
# The README names no registry's base images: this machine's are lent, with a program that was built by the command that the Dockerfile runs.
DOCKER = """exec podman "$1" --format docker --network none --build-arg RUST_IMAGE=localhost/prebuilt:test \\
  --build-arg CERTIFICATES_IMAGE=localhost/debian:test --build-arg PYTHON_IMAGE=localhost/debian:test "${@:2}"
"""


def say(text):
    print(text, flush=True)


def section():
    return (ROOT / "README.md").read_text().partition("## Install on Kubernetes\n")[2].partition("\n## ")[0]


def blocks(language="sh"):
    return re.findall(rf"^```{language}\n(.*?)^```", section(), re.M | re.S)


class Shell:
    """Somebody at a terminal in a checkout, with one of Helm's majors."""

    def __init__(self, cluster, major):
        self.folder = cluster.folder / f"shell-{major}"
        (self.folder / "bin").mkdir(parents=True)
        self.program("helm", f'exec {chart.KUBE}/helm-{major}/helm "$@"\n')
        self.program("kubectl", f'exec {chart.KUBE}/helm-4/kubectl "$@"\n')
        self.program("docker", DOCKER)
        kept = {key: value for key, value in os.environ.items() if key.startswith("CONTAINERS_")}
        paths = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder), "KUBECONFIG": str(cluster.folder / "kubeconfig")}
        self.environment = {**kept, **paths, "TMPDIR": "/tmp", "LC_ALL": "C.UTF-8"}

    def program(self, name, text):
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/bash\n{text}")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def run(self, commands, within=1200, folder=ROOT):
        """Lines of a shell, as they stand; what they say on success."""
        began = time.monotonic()
        words = ["bash", "-euo", "pipefail", "-c", commands]
        ended = subprocess.run(words, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=within)
        if ended.returncode != 0:
            raise Failed(f"{commands}\n  exit code {ended.returncode}\n{ended.stdout}{ended.stderr}")
        for line in commands.replace("\\\n", " ").splitlines():
            say(f"  $ {' '.join(line.split())}")
        say(f"    ({time.monotonic() - began:.0f} s)")
        return ended.stdout


class People:
    """Who asks Superset for a page all the while, through its Service."""

    def __init__(self, ask):
        self.ask, self.answers, self.over = ask, [], threading.Event()
        self.thread = threading.Thread(target=self._go)

    def __enter__(self):
        self.thread.start()
        return self

    def _go(self):
        while not self.over.wait(0.2):
            self.answers.append(self.ask("/health")[0])

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Release:
    """What came of an installation, as its users see it."""

    def __init__(self, cluster, shell, name="superset"):
        self.cluster, self.shell, self.fullname = cluster, shell, f"{name}-setkeeper"

    def ask(self, path):
        """Status, revision and page of what the Service answers; no status where it does not."""
        service = self.cluster.store.get("Service", "default", self.fullname)
        connection = http.client.HTTPConnection(service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"], timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("X-Setkeeper-Revision"), answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return None, None, ""
        finally:
            connection.close()

    def instances(self):
        command = f"kubectl exec deploy/{self.fullname}-web -c setkeeper -- /opt/setkeeper/setkeeper status -o json"
        words = ["bash", "-c", command]
        ended = subprocess.run(words, env=self.shell.environment, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(ended.stdout)["instances"]

    def pods(self):
        return {pod["metadata"]["name"] for pod in self.cluster.store.find("Pod")}

    def ready(self):
        return list(ready_pods(self.cluster.store, {}))

    def secrets(self):
        return {one["metadata"]["name"]: one["data"] for one in self.cluster.store.find("Secret") if one["type"] == "Opaque"}

    def is_whole(self, web=2):
        """Every instance in line, nothing started twice, and Superset answers with the revision that they say."""
        assert self.cluster.restarts() == {}, self.cluster.restarts()
        roles = sorted(one["labels"]["role"] for one in self.instances() if one["state"] == "in_sync")
        assert roles == ["beat", *["web"] * web, "worker"], self.instances()
        status, revision, _ = self.ask("/health")
        revisions = {one["applied"]["revision"] for one in self.instances() if one["labels"]["role"] == "web"}
        assert status == 200 and revisions == {revision}, (status, revision, revisions)
        return revision


def is_settled(release):
    try:
        return all(one["state"] == "in_sync" for one in release.instances())
    except subprocess.CalledProcessError:
        # ZooKeeper is away.
        return False

"""What a kubelet does with a pod, done by podman: as much of it as the chart relies on.

In: a pod as the chart renders it, with the ConfigMaps and Secrets that it names. Out: running containers, started in the kubelet's order: each init
container to its end, a native sidecar (restartPolicy Always) until its startup probe passes, then the others; ended in the reverse order.
Podman 4.3 knows neither native sidecars nor probes nor Secrets in envFrom, so these are taken out of what it is given, and done here.
It does not restart containers. Volumes are folders of this machine, those that can be written with the group of fsGroup, as a kubelet makes them.
"""

import base64
import copy
import json
import os
import subprocess
import time
from pathlib import Path

import yaml


class Failed(Exception):
    """A command failed; what it said is in the message."""


def run(*words, check=True, timeout=300, **kept):
    ended = subprocess.run(words, capture_output=True, text=True, timeout=timeout, **kept)
    if check and ended.returncode != 0:
        raise Failed(f"{' '.join(words)}\n  exit code {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended


def podman(*words, **kept):
    return run("podman", *words, **kept)


def eventually(what, look, within=60, pause=0.2):
    """The first true answer of `look`."""
    until = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > until:
            raise Failed(f"not within {within} s: {what}")
        time.sleep(pause)


def named(objects, kind, name):
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    if len(found) != 1:
        raise Failed(f"expected one {kind} {name}, found {len(found)}")
    return found[0]


class Pod:
    """One pod of a template, or whole; `network` is what podman calls it, and none is the network of the caller."""

    def __init__(self, objects, template, name, folder, network=None):
        template = copy.deepcopy(template)
        self.name, self.folder, self.objects, self.network = name, Path(folder), objects, network
        self.spec = template["spec"]
        self.sidecars = [c for c in self.spec.get("initContainers", []) if c.get("restartPolicy") == "Always"]
        self.inits = [c for c in self.spec.get("initContainers", []) if c not in self.sidecars]
        self.mains = self.spec["containers"]
        self.labels = template["metadata"]["labels"]

    def create(self):
        """All containers made, none started."""
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        file = self.folder / "pod.yaml"
        file.write_text(yaml.safe_dump_all(self._for_podman(), sort_keys=False))
        podman("play", "kube", "--start=false", *(self.network.options if self.network else ()), str(file))

    def start(self, log=lambda line: None):
        """Everything in the kubelet's order."""
        for container in self.inits:
            log(f"init container {container['name']}")
            self.run_to_end(container["name"])
        for container in self.sidecars:
            log(f"sidecar {container['name']}")
            self.start_one(container["name"])
            self.passes(container, "startupProbe")
        for container in self.mains:
            log(f"container {container['name']}")
            self.start_one(container["name"])

    def start_one(self, container):
        podman("start", self.id(container))

    def run_to_end(self, container):
        self.start_one(container)
        code = podman("wait", self.id(container), timeout=240).stdout.strip()
        if code != "0":
            raise Failed(f"init container {container} ended with {code}:\n{self.log(container)}")

    def passes(self, container, probe):
        """Asks a probe of a container as a kubelet does, until it passes."""
        wanted = container[probe]
        words, limit = wanted["exec"]["command"], wanted["periodSeconds"] * wanted["failureThreshold"]
        eventually(f"{probe} of {container['name']}", lambda: self.exec(container["name"], *words, check=False).returncode == 0, limit)

    def stop(self, container, within):
        """TERM, and how long it took to end, with which code."""
        began = time.monotonic()
        podman("kill", "--signal", "TERM", self.id(container))
        code = int(podman("wait", self.id(container), timeout=within).stdout.strip())
        return time.monotonic() - began, code

    def stop_within(self, container, grace):
        """TERM, and KILL where that does not end it in time."""
        podman("stop", "--time", str(grace), self.id(container), check=False, timeout=grace + 60)

    def exec(self, container, *words, check=True, timeout=120):
        return podman("exec", self.id(container), *words, check=check, timeout=timeout)

    def log(self, container):
        ended = podman("logs", self.id(container), check=False)
        return ended.stdout + ended.stderr

    def inspect(self, container):
        return json.loads(podman("inspect", self.id(container)).stdout)[0]

    def id(self, container):
        return f"{self.name}-{container}"

    def remove(self):
        podman("pod", "rm", "--force", "--time", "2", self.name, check=False)

    def volume(self, name):
        return self.folder / "volumes" / name

    def _for_podman(self):
        # Secrets as ConfigMaps: podman's own are no environment.
        maps = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
            for kind, key in (("ConfigMap", "configMap"), ("Secret", "secret"))
            for name in sorted(self._named_by(f"{key}Ref", f"{key}KeyRef"))
            for data in [self._data(kind, name)]
        ]
        spec = {
            "restartPolicy": "Never",
            "containers": [self._container(c) for c in self.inits + self.sidecars + self.mains],
            "volumes": [self._volume(v) for v in self.spec.get("volumes", [])],
        }
        if self.spec.get("shareProcessNamespace"):
            spec["shareProcessNamespace"] = True
        if self.network:
            spec["dnsConfig"] = self.network.dns
        else:
            # That of the test, which has nothing but loopback in it.
            spec["hostNetwork"] = True
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name, "labels": self.labels}, "spec": spec}
        return [*maps, pod]

    def _named_by(self, *keys):
        """The names that references of these kinds have."""
        sources = [s for c in self.inits + self.sidecars + self.mains for s in c.get("envFrom", [])]
        variables = [v.get("valueFrom", {}) for c in self.inits + self.sidecars + self.mains for v in c.get("env", [])]
        return {found[key]["name"] for found in sources + variables for key in keys if key in found}

    def _data(self, kind, name):
        data = named(self.objects, kind, name).get("data", {})
        return data if kind == "ConfigMap" else {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _container(self, container):
        kept = ("name", "image", "command", "args", "env", "envFrom", "resources", "volumeMounts", "securityContext")
        ours = {key: copy.deepcopy(container[key]) for key in kept if key in container}
        ours["imagePullPolicy"] = "Never"
        # What a pod says counts for each of its containers.
        for key in ("runAsUser", "runAsGroup"):
            ours["securityContext"].setdefault(key, self.spec["securityContext"][key])
        for source in ours.get("envFrom", []):
            if "secretRef" in source:
                source["configMapRef"] = source.pop("secretRef")
        for variable in ours.get("env", []):
            reference = variable.get("valueFrom", {})
            if "secretKeyRef" in reference:
                reference["configMapKeyRef"] = reference.pop("secretKeyRef")
        return ours

    def _volume(self, volume):
        if "hostPath" in volume:
            return volume
        folder = self.volume(volume["name"])
        folder.mkdir(parents=True)
        for key, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
            if key in volume:
                for file, text in self._data(kind, volume[key][name]).items():
                    (folder / file).write_text(text)
                folder.chmod(0o755)
                break
        else:
            os.chown(folder, 0, self.spec["securityContext"]["fsGroup"])
            folder.chmod(0o2777)
        return {"name": volume["name"], "hostPath": {"path": str(folder), "type": "Directory"}}

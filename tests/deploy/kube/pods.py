"""The chart's pods, run for real: a ZooKeeper, a Superset, an agent, and what goes wrong among them.

Run by `tests/deploy/kube/run pods`, in a network namespace that has nothing but loopback. Each step says in a sentence what was seen; one that was not
seen ends the run with 1, after the logs of the containers.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import chart
from kubelet import Failed, Pod, eventually, named, run

SERVICES = chart.HERE.parents[1] / "services"
VALUES = {
    "zookeeper": {"connect": "127.0.0.1:2181"},
    "superset": {
        "image": {"repository": "localhost/superset", "tag": "6.1.0"},
        "secret": {"databaseUri": "sqlite:////app/superset_home/superset.db"},
        "initialConfig": {"APP_NAME": "From the chart"},
    },
    "agent": {"image": {"repository": "localhost/setkeeper", "tag": "agent"}, "settings": {"rollout": {"settle": "200ms", "soak": "1s"}}},
    "worker": {"enabled": False},
    "beat": {"enabled": False},
}
PROGRAM = "/opt/setkeeper/setkeeper"


def say(text):
    print(text, flush=True)


def raise_loopback():
    up = 1
    with socket.socket() as handle:
        fcntl.ioctl(handle, 0x8914, struct.pack("16sH", b"lo", up))  # SIOCSIFFLAGS


def get(path, timeout=120):
    """Status, headers and text of what Superset answers; no status where it does not. Patient: a HUP has everybody wait."""
    connection = http.client.HTTPConnection("127.0.0.1", 8088, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode(errors="replace")
    except OSError:
        return None, {}, ""
    finally:
        connection.close()


class Users:
    """People who ask for pages all the while."""

    def __enter__(self):
        self.answers, self.over = [], threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in self.threads:
            thread.start()
        return self

    def _ask(self):
        while not self.over.wait(0.05):
            self.answers.append(get("/health")[0])

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def failed(self):
        return [status for status in self.answers if status != 200]


class Services:
    """A ZooKeeper and a Redis."""

    def __init__(self, folder):
        self.processes = [self.start(name, port, folder / name) for name, port in (("zookeeper", 2181), ("redis", 6379))]

    def start(self, name, port, folder):
        folder.mkdir()
        words = [str(SERVICES / name), "run", "--port", str(port), "--dir", str(folder)]
        with open(folder / "log", "wb") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def __enter__(self):
        eventually("ZooKeeper serves", lambda: setkeeper("config", "get", check=False).returncode == 0)
        eventually("Redis listens", lambda: socket.socket().connect_ex(("127.0.0.1", 6379)) == 0)

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)


def setkeeper(*words, check=True):
    """A command of the program on this host, as somebody outside the pod."""
    environment = {"PATH": os.environ["PATH"], "SETKEEPER_CONFIG": "/dev/null"}
    return run(str(chart.PROGRAM), "--connect", "127.0.0.1:2181", *words, check=check, env=environment)


def instances():
    return {one["id"]: one for one in json.loads(setkeeper("status", "-o", "json").stdout)["instances"]}


class Scenario:
    """One pod in one mode, from its start to its end."""

    def __init__(self, name, values, folder, agent, component="web"):
        objects = chart.rendered(chart.MAJORS[-1], chart.merged(VALUES, values))
        self.name, self.agent = name, agent
        template = named(objects, "Deployment", f"{chart.RELEASE}-setkeeper-{component}")["spec"]["template"]
        self.pod = Pod(objects, template, name, Path(folder) / name)
        self.superset = "superset"

    def play(self):
        self.pod.remove()
        self.pod.create()
        try:
            for step in self.steps():
                began = time.monotonic()
                said = step()
                say(f"  ✓ {said or step.__doc__} ({time.monotonic() - began:.1f} s)")
        except BaseException:
            for container in self.pod.inits + self.pod.sidecars + self.pod.mains:
                say(f"--- log of {container['name']}\n{self.pod.log(container['name'])[-4000:]}")
            raise
        finally:
            self.pod.remove()

    def in_sync(self):
        own = instances().get(self.name)
        return own if own and own["state"] == "in_sync" else None

    def serves(self, revision):
        return get("/health")[1].get("X-Setkeeper-Revision") == revision

    def set(self, *words):
        """An edit by the program in the pod, and the revision that came of it."""
        before = self.in_sync()["applied"]["revision"]
        self.pod.exec(self.agent, PROGRAM, "config", "set", *words)
        return self.comes_after(before)

    def comes_after(self, before):
        def new():
            own = self.in_sync()
            return own["applied"]["revision"] if own and own["applied"]["revision"] != before else None

        return eventually("a new revision is in sync", new, 120)

    def masters(self):
        """Gunicorn's master in the container of Superset, as the kernel numbers it."""
        cgroup = self.pod.inspect(self.superset)["State"]["Pid"]
        return [pid for pid in descendants(cgroup) if is_gunicorn(pid) and not is_gunicorn(parent(pid))]

    def agents(self):
        """The process that is the agent, and not what keeps it or supervises it."""
        found = descendants(self.pod.inspect(self.agent)["State"]["Pid"])
        return [pid for pid in found if {"--kept", "--supervised"} & set(command(pid))]

    # The steps; what each returns, or else its first line, is what is told.

    def no_more_than_needed(self):
        user, group = (self.pod.spec["securityContext"][key] for key in ("runAsUser", "runAsGroup"))
        for container in self.pod.sidecars + self.pod.mains:
            state = self.pod.inspect(container["name"])
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{state['State']['Pid']}/status").read_text().splitlines() if ":\t" in line)
            assert status["Uid"].split() == [str(user)] * 4 and status["Gid"].split() == [str(group)] * 4, status
            assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {0}, status
            assert status["NoNewPrivs"] == "1", status
            limit = container["resources"]["limits"]["memory"]
            assert state["HostConfig"]["Memory"] == size(limit), (limit, state["HostConfig"]["Memory"])
            root = Path(f"/proc/{state['State']['Pid']}/root")
            written = self.pod.exec(container["name"], "python3", "-c", "open('/etc/x', 'w')", check=False)
            assert "Read-only file system" in written.stderr, (root, written.stderr)
        return "every container runs as the user of Superset, without a capability, on a root that is read-only, within its memory"

    def first_revision(self):
        own = eventually("the instance is in sync", self.in_sync, 120)
        revision = own["applied"]["revision"]
        eventually("Superset bears the revision", lambda: self.serves(revision))
        # The name is the chart's, published once.
        status, _, page = get("/login/")
        assert status == 200 and "From the chart" in page, page[:500]
        return "Superset serves the first config, which the chart has published"

    def account(self):
        """the agent's account works: it leads, and a connection is made in Superset"""
        tree = self.pod.folder / "duck.yaml"
        tree.write_text("sqlalchemy_uri: duckdb:////tmp/x.db\n")
        setkeeper("datasource", "apply", str(tree))
        made = lambda: [one for one in json.loads(setkeeper("datasource", "list", "-o", "json").stdout) if one["state"] == "in_sync"]
        eventually("the connection is in sync", made, 60)

    def broken(self):
        before = self.in_sync()["applied"]["revision"]
        # Of the right type, and no cache that there is.
        self.pod.exec(self.agent, PROGRAM, "config", "set", "CACHE_CONFIG", "{CACHE_TYPE: nonsense.Nonsense}")
        with Users() as users:
            held = lambda: (instances()[self.name]["state"] == "held") and instances()[self.name]["error"]
            error = eventually("the release is refused", held, 120)
        assert "nonsense" in error, error
        assert not users.failed() and users.answers and self.serves(before), users.failed()
        self.pod.exec(self.agent, PROGRAM, "config", "unset", "CACHE_CONFIG")
        eventually("all is well again", self.in_sync, 120)
        return "a config that Superset cannot load is refused by the check, and Superset serves on"

    def memory(self):
        state = self.pod.inspect(self.agent)
        peak, limit, killed = memory_of(state["State"]["Pid"])
        assert limit == state["HostConfig"]["Memory"], (limit, state["HostConfig"]["Memory"])
        assert killed == 0 and not state["State"]["OOMKilled"], killed
        # Less than a check would mean that none ran within this limit.
        assert peak > 150 << 20, peak
        return f"checks ran within the memory limit: at most {peak >> 20}M of {limit >> 20}M, and nothing was killed"

    def agent_dies(self):
        (old,), (before,), ghost = self.agents(), self.masters(), self.in_sync()
        started = self.pod.inspect(self.agent)["State"]["StartedAt"]
        with Users() as users:
            os.kill(old, signal.SIGKILL)
            eventually("another agent", lambda: [pid for pid in self.agents() if pid != old])
            eventually("ready again", lambda: self.pod.exec(self.agent, PROGRAM, "health", "--ready", check=False).returncode == 0)
        state = self.pod.inspect(self.agent)["State"]
        assert state["Running"] and state["StartedAt"] == started, state
        assert users.answers and not users.failed() and self.masters() == [before], users.failed()
        # Under its name it meets its own ghost until that one's session is over.
        eventually("in sync again", lambda: (own := self.in_sync()) and own["started_at"] != ghost["started_at"], 60)
        return "the agent is killed: another takes its place, its container goes on, and Superset has not noticed"


class Sidecar(Scenario):
    def __init__(self, name, values, folder):
        super().__init__(name, values, folder, "setkeeper")

    def steps(self):
        return [self.order, self.no_more_than_needed, self.first_revision, self.account, self.change, self.broken, self.memory, self.agent_dies, self.leave]

    def order(self):
        pod, rendered = self.pod, self.pod.volume("rendered") / "superset_config.py"
        for container in pod.inits:
            pod.run_to_end(container["name"])
        assert not rendered.exists()
        (sidecar,) = pod.sidecars
        pod.start_one(sidecar["name"])
        # Where only the syntax is checked, the file may be there before the first probe.
        is_ready = pod.exec(sidecar["name"], *sidecar["startupProbe"]["exec"]["command"], check=False).returncode == 0
        assert rendered.exists() or not is_ready, "ready before anything is rendered"
        pod.passes(sidecar, "startupProbe")
        assert rendered.exists() and pod.inspect(self.superset)["State"]["Status"] != "running"
        pod.start_one(self.superset)
        eventually("Superset answers", lambda: get("/health")[0] == 200, 60)
        assert pod.exec(sidecar["name"], *sidecar["livenessProbe"]["exec"]["command"]).returncode == 0
        return "the program is copied, the config published, the metadata migrated, the config rendered; only then Superset starts"

    def change(self):
        before = self.masters()
        with Users() as users:
            revision = self.set("APP_NAME", "From ZooKeeper")
            eventually("Superset bears the revision", lambda: self.serves(revision))
        assert users.answers and not users.failed(), users.failed()
        assert self.masters() == before, "a HUP keeps the master"
        assert "From ZooKeeper" in get("/login/")[2]
        return f"a change in ZooKeeper reaches Superset by a signal across containers; none of {len(users.answers)} requests failed"

    def leave(self):
        """TERM to the pod: Superset ends, then the agent, and its record is gone at once"""
        _, code = self.pod.stop(self.superset, 60)
        assert code == 0, code
        assert self.name in instances()
        took, code = self.pod.stop(self.agent, 30)
        assert code == 0 and took < 10, (code, took)
        assert self.name not in instances(), "a record outlives its agent"


class Supervised(Scenario):
    def __init__(self, name, values, folder):
        super().__init__(name, merged_mode(values), folder, "superset")

    def steps(self):
        return [self.order, self.no_more_than_needed, self.first_revision, self.account, self.change, self.broken, self.memory, self.agent_dies, self.leave]

    def order(self):
        for container in self.pod.inits:
            self.pod.run_to_end(container["name"])
        self.pod.start_one(self.superset)
        rendered = self.pod.volume("rendered") / "superset_config.py"
        while not self.masters():
            seen = rendered.exists()
            time.sleep(0.01)
        assert rendered.exists(), seen
        eventually("Superset answers", lambda: get("/health")[0] == 200, 60)
        return "the agent renders in front of Superset, and only then starts it"

    def change(self):
        (before,) = self.masters()
        with Users() as users:
            revision = self.set("APP_NAME", "From ZooKeeper")
            eventually("Superset bears the revision", lambda: self.serves(revision))
            eventually("one master is left", lambda: len(self.masters()) == 1, 60)
        assert users.answers and not users.failed(), users.failed()
        assert self.masters() != [before], "a handoff has another master"
        assert "From ZooKeeper" in get("/login/")[2]
        return f"a change in ZooKeeper reaches Superset by a handoff; none of {len(users.answers)} requests failed"

    def leave(self):
        """TERM to the pod: Superset ends, its record is gone, and the container ends well"""
        took, code = self.pod.stop(self.superset, 60)
        assert code == 0 and took < 45, (code, took)
        assert self.name not in instances(), "a record outlives its agent"


class OwnImage(Sidecar):
    """The agent in its own image, with a Python but no Superset."""

    def steps(self):
        return [self.order, self.first_revision, self.change, self.leave]

    def set(self, *words):
        before = self.in_sync()["applied"]["revision"]
        self.pod.exec(self.agent, "/usr/local/bin/setkeeper", "config", "set", *words)
        return self.comes_after(before)


class Celery(Scenario):
    """A worker or a beat, which serve nobody: what they do is in their log, and in what their agent has verified."""

    def __init__(self, component, agent, started, folder):
        values = {component: {"enabled": True}, "superset": {"secret": {"celeryBroker": "redis://127.0.0.1:6379/0"}}}
        super().__init__(component, values, folder, agent, component)
        self.started = started

    def steps(self):
        return [self.order, self.no_more_than_needed, self.change, self.leave]

    def starts(self):
        return self.pod.log(self.superset).count(self.started)

    def order(self):
        self.pod.start()
        eventually("it has started", lambda: self.starts() == 1, 120)
        own = eventually("the instance is in sync", self.in_sync, 120)
        assert own["labels"]["role"] == self.name, own
        return "it starts with the first config"

    def change(self):
        self.set("ROW_LIMIT", "7")
        assert self.starts() == 2, self.pod.log(self.superset)
        assert "ROW_LIMIT = 7" in (self.pod.volume("rendered") / "superset_config.py").read_text()
        return "a change in ZooKeeper has it start anew, in its container, and is verified"

    def leave(self):
        """TERM to the pod: it ends, its agent, and the record is gone at once"""
        for container in [self.superset, *(one["name"] for one in self.pod.sidecars)]:
            took, code = self.pod.stop(container, 60)
            assert code == 0, (container, code, took)
        assert self.name not in instances(), "a record outlives its agent"


def merged_mode(values):
    return chart.merged({"mode": "supervisor"}, values)


def size(text):
    units = {"Ki": 10, "Mi": 20, "Gi": 30}
    return int(text[:-2]) << units[text[-2:]]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def is_gunicorn(pid):
    words = command(pid)
    return any(word.rsplit("/", 1)[-1] == "gunicorn" for word in words[:2]) or words[0:1] and words[0].startswith("gunicorn: ")


def parent(pid):
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def descendants(root):
    """A process and all below it."""
    parents = {int(entry.name): parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, before = {root}, 0
    while len(found) != before:
        before = len(found)
        found |= {pid for pid, above in parents.items() if above in found}
    return sorted(found)


def memory_of(pid):
    """What the cgroup of a process took at most, may take, and how often something in it was killed."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            folder = Path("/sys/fs/cgroup/memory" + path)
            killed = dict(line.split() for line in (folder / "memory.oom_control").read_text().splitlines())
            return int((folder / "memory.max_usage_in_bytes").read_text()), int((folder / "memory.limit_in_bytes").read_text()), int(killed["oom_kill"])
        folder = Path("/sys/fs/cgroup" + path)
        if not controllers and (folder / "memory.peak").exists():
            killed = dict(line.split() for line in (folder / "memory.events").read_text().splitlines())
            return int((folder / "memory.peak").read_text()), int((folder / "memory.max").read_text()), int(killed["oom_kill"])
    raise Failed("failed to find the memory's cgroup")


def main():
    raise_loopback()
    folder = Path(tempfile.mkdtemp(prefix="setkeeper-kube-"))
    try:
        scenarios = [
            ("a pod with the agent as a native sidecar", lambda: Sidecar("sidecar", {}, folder)),
            ("a pod with the agent in front of Superset", lambda: Supervised("supervised", {}, folder)),
            ("a pod with the agent in its own image", lambda: OwnImage("own", {"agent": {"runIn": "own", "image": {"tag": "python"}}}, folder)),
            ("a worker's pod, with a sidecar", lambda: Celery("worker", "setkeeper", "-------------- [queues]", folder)),
            ("a beat's pod, supervised", lambda: Celery("beat", "superset", "is starting.", folder)),
        ]
        wanted = os.environ.get("POD", "")
        for title, scenario in scenarios:
            if wanted not in title:
                continue
            say(title)
            with Services(Path(tempfile.mkdtemp(dir=folder))):
                scenario().play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, Failed, subprocess.SubprocessError) as failure:
        import traceback

        traceback.print_exc()
        sys.exit(f"error: {failure}")

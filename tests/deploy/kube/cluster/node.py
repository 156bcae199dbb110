"""The one node: what a kubelet does with each pod that the API server has, and what it tells of it. The containers are podman's, by kubelet.py.

One thread follows each pod from its creation until it is gone. It starts containers in the kubelet's order, tries init containers and containers that ended again
(later and later) where the pod says so, asks the probes as they stand in the pod, and ends with preStop, TERM, and the sidecars last. Images are never
pulled. Not here: evictions, limits of CPU, more than one node.
"""

import os
import threading
import time
import traceback
from pathlib import Path

from kubelet import Pod

from . import probes
from .network import SUBNET, Network
from .store import Follower, now

LONGEST_BACKOFF = 30


class Gone(Exception):
    """The pod is to end."""


class Node(Follower):
    def __init__(self, store, folder):
        self.folder, self.runs = Path(folder), {}
        self.addresses = iter(range(2, 250))
        super().__init__(store)

    def close(self):
        """Every pod is ended at once."""
        super().close()
        for run in list(self.runs.values()):
            run.thread.join()

    def pod(self, namespace, name):
        return self.run_of(self.store.get("Pod", namespace, name)).pod

    def run_of(self, found):
        return self.runs[found["metadata"]["uid"]]

    def take(self, changes):
        for _, event, found in changes:
            if event == "ADDED" and found["kind"] == "Pod":
                self.runs[found["metadata"]["uid"]] = Run(self, found, f"{SUBNET}.{next(self.addresses)}")


class Run:
    """One pod, from its start to its end."""

    def __init__(self, node, found, address):
        self.node, self.store, self.key, self.uid, self.address = node, node.store, node.store.key(found), found["metadata"]["uid"], address
        self.grace, self.policy = found["spec"]["terminationGracePeriodSeconds"], found["spec"]["restartPolicy"]
        objects = node.store.find("ConfigMap", self.key[1]) + node.store.find("Secret", self.key[1])
        template = {"metadata": {"labels": found["metadata"].get("labels", {})}, "spec": self.with_claims(found["spec"])}
        folder = node.folder / f"{self.key[2]}-{self.uid[:8]}"
        self.pod = Pod(objects, template, self.key[2], folder, Network(address))
        self.states = {c["name"]: {"restarts": 0, "state": "waiting", "code": None, "started": False, "ready": False} for c in self.all()}
        self.is_initialized = False
        self.thread = threading.Thread(target=self._live, name=self.key[2])
        self.thread.start()

    def all(self):
        return self.pod.inits + self.pod.sidecars + self.pod.mains

    def with_claims(self, spec):
        """A claim is a folder of this machine that outlives the pod."""
        volumes = []
        for volume in spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                claim = self.store.get("PersistentVolumeClaim", self.key[1], volume["persistentVolumeClaim"]["claimName"])
                folder = self.node.folder / f"claim-{claim['metadata']['uid']}"
                folder.mkdir(exist_ok=True)
                os.chown(folder, 0, spec["securityContext"]["fsGroup"])
                folder.chmod(0o2777)
                volume = {"name": volume["name"], "hostPath": {"path": str(folder), "type": "Directory"}}
            volumes.append(volume)
        return {**spec, "volumes": volumes}

    def _live(self):
        try:
            self.tell()
            self.pod.create()
            self.initialize()
            for container in self.pod.mains:
                self.begin(container)
            self.watch()
        except Gone:
            self.end()
        except Exception:
            # Whoever waits for this pod has to see why it does not come.
            self.states[self.all()[0]["name"]]["state"] = "waiting"
            print(f"the node failed with {self.key[2]}:\n{traceback.format_exc()}", flush=True)
        finally:
            self.pod.remove()
            found = self.store.objects.get(self.key)
            if found and found["metadata"]["uid"] == self.uid and "deletionTimestamp" in found["metadata"]:
                self.store.remove(found)

    def pause(self, seconds):
        """Waits; raises Gone where the pod is deleted meanwhile."""
        until = time.monotonic() + seconds
        while True:
            found = self.store.objects.get(self.key)
            if self.node.over.is_set() or found is None or found["metadata"]["uid"] != self.uid or "deletionTimestamp" in found["metadata"]:
                raise Gone
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))

    def initialize(self):
        for container in self.pod.inits:
            self.begin(container)
            while not self.has_ended(container):
                self.pause(0.5)
            while self.states[container["name"]]["code"] != 0:
                self.again(container)
                while not self.has_ended(container):
                    self.pause(0.5)
        for container in self.pod.sidecars:
            self.begin(container)
            while not self.states[container["name"]]["started"]:
                self.look(container)
                self.pause(0.2)
        self.is_initialized = True
        self.tell()

    def watch(self):
        while True:
            for container in self.pod.sidecars + self.pod.mains:
                self.look(container)
            self.tell()
            self.pause(0.5)

    def look(self, container):
        """One look at a running container, its end and its probes."""
        state = self.states[container["name"]]
        if state["state"] == "running" and self.has_ended(container):
            is_sidecar = container in self.pod.sidecars
            if is_sidecar or self.policy == "Always" or (self.policy == "OnFailure" and state["code"] != 0):
                self.again(container)
        elif state["state"] == "running" and not state["asked"].look(state):
            print(f"{self.key[2]}: {container['name']} does not answer its probe and is started again", flush=True)
            self.pod.stop_within(container["name"], self.grace)
            self.again(container)

    def begin(self, container):
        self.pause(0)
        state, name = self.states[container["name"]], container["name"]
        self.pod.start_one(name)
        inspected = self.pod.inspect(name)["State"]
        state.update(state="running", pid=inspected["Pid"], since=now(), code=None, started=False, ready=False)
        state["asked"] = probes.Asked(self.pod, container, self.address)
        self.tell()

    def has_ended(self, container):
        """Whether it has; seen in /proc, for asking podman takes long."""
        state = self.states[container["name"]]
        if state["pid"] and Path(f"/proc/{state['pid']}").exists():
            return False
        inspected = self.pod.inspect(container["name"])["State"]
        if inspected["Status"] not in ("exited", "stopped"):
            return False
        state.update(state="terminated", code=inspected["ExitCode"], ready=False)
        self.tell()
        return True

    def again(self, container):
        """A failed container once more, later and later; its log goes on."""
        state = self.states[container["name"]]
        self.pause(min(LONGEST_BACKOFF, 2 ** state["restarts"]))
        state["restarts"] += 1
        self.begin(container)

    def end(self):
        """preStop and TERM for what serves, then the sidecars, the last first."""
        running = lambda containers: [c for c in containers if self.states[c["name"]]["state"] == "running"]
        ends = [threading.Thread(target=self.end_one, args=(c,)) for c in running(self.pod.mains)]
        for one in ends:
            one.start()
        for one in ends:
            one.join()
        for container in reversed(running(self.pod.sidecars)):
            self.end_one(container)

    def end_one(self, container):
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec")
        if hook and not self.node.over.is_set():
            self.pod.exec(container["name"], *hook["command"], check=False)
        self.pod.stop_within(container["name"], 1 if self.node.over.is_set() else self.grace)

    def tell(self):
        """The status as clients read it."""
        states = self.states
        has_ended = all(states[c["name"]]["state"] == "terminated" and self.policy != "Always" for c in self.pod.mains)
        if has_ended:
            phase = "Failed" if any(states[c["name"]]["code"] for c in self.pod.mains) else "Succeeded"
        else:
            phase = "Running" if self.is_initialized else "Pending"
        is_ready = self.is_initialized and not has_ended and all(states[c["name"]]["ready"] for c in self.pod.sidecars + self.pod.mains)
        truths = {"PodScheduled": True, "Initialized": self.is_initialized, "ContainersReady": is_ready, "Ready": is_ready}
        status = {
            "phase": phase, "podIP": self.address, "hostIP": "127.0.0.1",
            "conditions": [{"type": kind, "status": str(value)} for kind, value in truths.items()],
            "initContainerStatuses": [self.said_of(c) for c in self.pod.inits + self.pod.sidecars],
            "containerStatuses": [self.said_of(c) for c in self.pod.mains],
        }  # fmt: skip

        def write(found):
            if found["metadata"]["uid"] == self.uid:
                found["status"] = status

        self.store.update(self.key, write)

    def said_of(self, container):
        state = self.states[container["name"]]
        details = {
            "waiting": {"reason": "PodInitializing"},
            "running": {"startedAt": state.get("since")},
            "terminated": {"exitCode": state["code"], "reason": "Completed" if state["code"] == 0 else "Error"},
        }
        is_ready = state["code"] == 0 if container in self.pod.inits else state["ready"]
        return {
            "name": container["name"], "image": container["image"], "imageID": "", "ready": is_ready, "started": state["started"],
            "restartCount": state["restarts"], "state": {state["state"]: details[state["state"]]},
        }  # fmt: skip

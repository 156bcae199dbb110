"""A cluster of one node on this machine, without a cluster: an API server, controllers, a kubelet by podman, a network. Each file says how far it goes."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from . import network
from .api import Server
from .controllers import Controllers
from .node import Node
from .store import Follower, Store

PORT = 6443
KUBECONFIG = f"""
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: default}}}}]
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{PORT}"}}}}]
users: [{{name: test, user: {{}}}}]
"""


class Cluster:
    """From `with` on it runs, in the network namespace of the caller; at its end nothing of it is left. `hosts` are names outside, with their addresses."""

    def __init__(self, hosts=None):
        self.hosts = hosts or {}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="setkeeper-cluster-"))
        (self.folder / "kubeconfig").write_text(KUBECONFIG)
        network.make()
        self.store = Store()
        self.node = Node(self.store, self.folder)
        self.parts = [Server(self.store, self.node, PORT), Controllers(self.store), self.node]
        self.parts += [network.Services(self.store), network.Names(self.store, self.hosts)]
        return self

    def __exit__(self, *_):
        with contextlib.ExitStack() as last:
            last.callback(shutil.rmtree, self.folder, ignore_errors=True)
            last.callback(network.remove)
            for part in reversed(self.parts):
                last.callback(part.close)

    def failures(self):
        """What ended a part before its time."""
        return [part.failure for part in self.parts if isinstance(part, Follower) and part.failure]

    def left(self):
        """What there is besides what every cluster has."""
        born = {("Namespace", "", "default"), ("ServiceAccount", "default", "default")}
        return sorted(self.store.objects.keys() - born)

    def restarts(self):
        """How often each container was started again."""
        counted = {}
        for pod in self.store.find("Pod"):
            for one in pod["status"]["initContainerStatuses"] + pod["status"]["containerStatuses"]:
                if one["restartCount"]:
                    counted[f"{pod['metadata']['name']}/{one['name']}"] = one["restartCount"]
        return counted

"""More than a trial, as the README has it: its values.yaml word for word, with a ZooKeeper that asks for a password, a PostgreSQL and a Redis that somebody else runs.

These run on this machine, outside the cluster: on loopback, and carried to where pods reach them. The Secrets that values.yaml names are made by whoever
installs; the README says with which keys.
"""

import os
import re
import socket
import subprocess
import threading

import chart
from cluster.network import GATEWAY, carry, end
from installation import ROOT, Release, Shell, blocks, is_settled, say
from kubelet import eventually, run

SERVICES = chart.HERE.parents[1] / "services"
PORTS = {"zookeeper": 2181, "postgres": 5432, "redis": 6379}
HOSTS = {name: GATEWAY for name in ("zk1", "zk2", "zk3", "postgres", "redis")}
PASSWORD = "canary-zookeeper"
SECRETS = {
    "superset": {
        "SUPERSET_SECRET_KEY": "a-key-of-our-own-that-is-long-enough-for-anybody",
        "SUPERSET_DATABASE_URI": "postgresql+psycopg2://postgres@postgres:5432/superset",
        "SUPERSET_CELERY_BROKER": "redis://redis:6379/0",
    },
    "superset-agent": {"SETKEEPER_SECRET_SUPERSET": "canary-superset", "SETKEEPER_SECRET_ZOOKEEPER": PASSWORD},
}


class Outside:
    """The services, from `with` on."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.processes = [self.start(name, port) for name, port in PORTS.items()]
        self.listeners = [self.carried(port) for port in PORTS.values()]
        for name, port in PORTS.items():
            eventually(f"{name} listens", lambda port=port: socket.socket().connect_ex(("127.0.0.1", port)) == 0)

    def __exit__(self, *_):
        for listener in self.listeners:
            end(listener)
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)

    def start(self, name, port):
        folder = self.folder / name
        folder.mkdir()
        with open(folder / "log", "wb") as log:
            return subprocess.Popen([str(SERVICES / name), "run", "--port", str(port), "--dir", str(folder)], stdout=log, stderr=log)

    def carried(self, port):
        listener = socket.create_server((GATEWAY, port), backlog=256)

        def accept():
            while True:
                try:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", port), 5)
                except OSError:
                    return
                threading.Thread(target=carry, args=(client, server), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener


def stranger_publishes():
    """What comes of it where somebody outside the cluster has no password."""
    environment = {"PATH": os.environ["PATH"], "SETKEEPER_CONFIG": "/dev/null"}
    return run(str(chart.PROGRAM), "--connect", "127.0.0.1:2181", "config", "set", "ROW_LIMIT", "5", check=False, env=environment)


def installation(cluster, major):
    say(f"more than a trial, by Helm {major}")
    folder = cluster.folder / "checkout"
    folder.mkdir()
    (folder / "helm").symlink_to(ROOT / "helm")
    (values,) = blocks("yaml")
    (folder / "values.yaml").write_text(values)
    shell = Shell(cluster, major)
    for name, data in SECRETS.items():
        literals = " ".join(f"--from-literal={key}={value}" for key, value in data.items())
        shell.run(f"kubectl create secret generic {name} {literals}")
    with Outside(cluster.folder):
        shell.run(blocks()[4], folder=folder)
        release = Release(cluster, shell)
        eventually("every pod is ready", lambda: len(release.ready()) == 4, 900, 3)
        eventually("every instance is in line", lambda: is_settled(release), 600, 3)
        release.is_whole()
        say("  ✓ web, worker and beat are in line, nothing had to be started twice, and Superset answers with their revision")
        said = shell.run("helm test superset")
        assert re.search(r"^Phase: +Succeeded$", said, re.M), said
        refused = stranger_publishes()
        assert refused.returncode == 1 and "not authorized" in refused.stderr, refused
        say("  ✓ the tree is the agents' alone: without the password nobody publishes anything")
        shell.run("helm uninstall superset")
        kept = [("Secret", "default", name) for name in sorted(SECRETS)]
        eventually("all but the Secrets of others is gone", lambda: cluster.left() == kept, 600, 1)
        say("  ✓ nothing is left but what was there before")

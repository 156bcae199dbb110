"""The cluster's network: a bridge on which each pod has an address, the addresses of Services, and their names.

All of it lies in the network namespace that the test was started in, from which nothing leads out. A Service is a listener on its address that carries each
connection to one of the pods that are ready, as kube-proxy's first mode did; a name server knows Services, as CoreDNS does, and `hosts` besides.
"""

import random
import selectors
import socket
import struct
import threading

from kubelet import Failed, podman, run

from .store import Follower

NAME, SUBNET, GATEWAY = "setkeeper-test", "10.244.0", "10.244.0.1"
DOMAIN = "svc.cluster.local"


class Network:
    """Of one pod: what podman is told."""

    def __init__(self, address):
        self.address = address
        self.options = ("--network", NAME, "--ip", address)
        searches = [f"default.{DOMAIN}", DOMAIN, "cluster.local"]
        self.dns = {"nameservers": [GATEWAY], "searches": searches, "options": [{"name": "ndots", "value": "5"}]}


def make():
    run("ip", "link", "set", "lo", "up")
    podman("network", "rm", "--force", NAME, check=False)
    podman("network", "create", "--disable-dns", "--subnet", f"{SUBNET}.0/24", "--gateway", GATEWAY, NAME)
    # Podman makes its bridge with the first pod; the name server must be there before, and stay.
    bridge = podman("network", "inspect", "--format", "{{.NetworkInterface}}", NAME).stdout.strip()
    run("ip", "link", "add", bridge, "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY}/24", "dev", bridge)
    run("ip", "link", "set", bridge, "up")


def remove():
    podman("network", "rm", "--force", NAME, check=False)


def ready_pods(store, selector):
    for pod in store.find("Pod", selector=selector):
        conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            yield pod


def target(pod, port):
    """The number of a port, which a Service may call by its name in the pod."""
    if isinstance(port, int):
        return port
    named = [p["containerPort"] for c in pod["spec"]["containers"] for p in c.get("ports", []) if p.get("name") == port]
    if len(named) != 1:
        raise Failed(f"no port {port} in {pod['metadata']['name']}")
    return named[0]


class Services(Follower):
    """One listener for each port of each Service, from its creation until its deletion."""

    def __init__(self, store):
        self.listeners = {}
        super().__init__(store)

    def close(self):
        super().close()
        for listener in self.listeners.values():
            end(listener)

    def take(self, changes):
        wanted = {}
        for service in self.store.find("Service"):
            if service["spec"]["clusterIP"] != "None":
                for port in service["spec"]["ports"]:
                    wanted[service["spec"]["clusterIP"], port["port"]] = (service, port["targetPort"])
        for place in self.listeners.keys() - wanted.keys():
            end(self.listeners.pop(place))
        for place in wanted.keys() - self.listeners.keys():
            run("ip", "address", "replace", f"{place[0]}/32", "dev", "lo")
            listener = socket.create_server(place, backlog=256)
            self.listeners[place] = listener
            threading.Thread(target=self._accept, args=(listener, *wanted[place]), daemon=True).start()

    def _accept(self, listener, service, port):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            pods = list(ready_pods(self.store, service["spec"]["selector"]))
            try:
                pod = random.choice(pods)
                server = socket.create_connection((pod["status"]["podIP"], target(pod, port)), 5)
            except (IndexError, OSError):
                # Nobody is ready: refused, as nearly as a listener can.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
                continue
            threading.Thread(target=carry, args=(client, server), daemon=True).start()


def end(listener):
    """Also for who waits in accept(), whom close() does not wake: until then the kernel listens on, and nobody else gets the address."""
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def carry(one, other):
    """Bytes both ways, until both have ended."""
    with one, other, selectors.DefaultSelector() as waiting:
        waiting.register(one, selectors.EVENT_READ, other)
        waiting.register(other, selectors.EVENT_READ, one)
        while waiting.get_map():
            for key, _ in waiting.select():
                try:
                    data = key.fileobj.recv(65536)
                    if data:
                        key.data.settimeout(60)
                        key.data.sendall(data)
                    else:
                        key.data.shutdown(socket.SHUT_WR)
                except OSError:
                    return
                if not data:
                    waiting.unregister(key.fileobj)


class Names:
    """A name server for A records."""

    def __init__(self, store, hosts):
        self.store, self.hosts, self.over = store, hosts, threading.Event()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((GATEWAY, 53))
        self.socket.settimeout(0.5)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def close(self):
        self.over.set()
        self.thread.join()
        self.socket.close()

    def addresses(self, name):
        if name in self.hosts:
            return [self.hosts[name]]
        short, _, domain = name.partition(".")
        namespace, _, rest = domain.partition(".")
        if rest != DOMAIN:
            return []
        for service in self.store.find("Service", namespace):
            if service["metadata"]["name"] == short:
                if service["spec"]["clusterIP"] == "None":
                    return [pod["status"]["podIP"] for pod in ready_pods(self.store, service["spec"]["selector"])]
                return [service["spec"]["clusterIP"]]
        return []

    def _serve(self):
        while not self.over.is_set():
            try:
                question, sender = self.socket.recvfrom(512)
                self.socket.sendto(self.reply(question), sender)
            except OSError:
                # Nobody asked, or who asked has gone.
                continue

    def reply(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack("!H", question[at + 1 : at + 3])[0]
        found = self.addresses(".".join(labels).lower())
        records = [b"\xc0\x0c\x00\x01\x00\x01" + struct.pack("!IH", 5, 4) + socket.inet_aton(address) for address in found if kind == 1]
        # A name that exists without a record of this type is no error.
        flags = 0x8580 | (0 if found else 3)
        return question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question[12 : at + 5] + b"".join(records)

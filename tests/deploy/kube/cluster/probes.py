"""The probes of a container, asked as a kubelet asks them: the startup probe until it passes, then readiness and liveness, each in its own time."""

import http.client
import socket
import subprocess
import time

from kubelet import Failed


class Probe:
    def __init__(self, wanted, ask):
        self.wanted, self.ask = wanted, ask
        self.next = time.monotonic() + wanted.get("initialDelaySeconds", 0)
        self.failures = self.successes = 0

    def look(self):
        """True or False where its time had come and the answer counts, else None."""
        if time.monotonic() < self.next:
            return None
        is_well = self.ask(self.wanted)
        self.next = time.monotonic() + self.wanted.get("periodSeconds", 10)
        self.failures, self.successes = (0, self.successes + 1) if is_well else (self.failures + 1, 0)
        if self.successes >= self.wanted.get("successThreshold", 1):
            return True
        return False if self.failures >= self.wanted.get("failureThreshold", 3) else None


class Asked:
    """All probes of one run of a container."""

    def __init__(self, pod, container, address):
        self.pod, self.container, self.address = pod, container, address
        self.startup, self.readiness, self.liveness = (
            Probe(container[key], self.ask) if key in container else None for key in ("startupProbe", "readinessProbe", "livenessProbe")
        )

    def look(self, state):
        """Writes `started` and `ready`; False where the container must be killed."""
        if self.startup and not state["started"]:
            seen = self.startup.look()
            state["started"] = seen is True
            return seen is not False
        state["started"] = True
        if self.readiness:
            seen = self.readiness.look()
            state["ready"] = state["ready"] if seen is None else seen
        else:
            state["ready"] = True
        return not self.liveness or self.liveness.look() is not False

    def ask(self, probe):
        patience = probe.get("timeoutSeconds", 1)
        try:
            if "exec" in probe:
                # Podman itself takes a while to begin.
                return self.pod.exec(self.container["name"], *probe["exec"]["command"], check=False, timeout=patience + 5).returncode == 0
            if "tcpSocket" in probe:
                with socket.create_connection((self.address, self.port(probe["tcpSocket"])), patience):
                    return True
            connection = http.client.HTTPConnection(self.address, self.port(probe["httpGet"]), timeout=patience)
            connection.request("GET", probe["httpGet"]["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException, subprocess.TimeoutExpired):
            return False

    def port(self, place):
        port = place["port"]
        if isinstance(port, int):
            return port
        named = [p["containerPort"] for p in self.container["ports"] if p["name"] == port]
        if len(named) != 1:
            raise Failed(f"no port {port} in {self.container['name']}")
        return named[0]

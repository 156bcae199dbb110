"""Proves what the demo shows: every assertion is asked of the real thing, told in one line, and counted.

    prove.py AGENT SUPERSET ZOOKEEPER_PORT NAME PASSWORD SETKEEPER...

AGENT and SUPERSET are URLs, NAME is what Superset should be called by now, SETKEEPER... the command line that the commands
are added to. Ends with 1 if anything is not as it should be. Only the standard library.
"""

import http.cookiejar
import json
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid

import look
from claims import claim, prove

agent, superset, zookeeper_port, name, password, *setkeeper = sys.argv[1:]
INSTANCE, SAMPLE, DOWN = "demo", "sales", "warehouse"


def command(*words):
    """What a command of Setkeeper answers."""
    return json.loads(subprocess.run([*setkeeper, *words, "-o", "json"], check=True, stdout=subprocess.PIPE).stdout)


class Api:
    """Superset's REST API, logged in; it wants the session's cookie and a token even from who has logged in."""

    def __init__(self):
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
        self.headers = {"Accept": "application/json", "Content-Type": "application/json", "Referer": superset}
        account = {"username": "admin", "password": password, "provider": "db", "refresh": False}
        self.headers["Authorization"] = f"Bearer {self('security/login', account)['access_token']}"
        self.headers["X-CSRFToken"] = self("security/csrf_token/")["result"]

    def __call__(self, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{superset}/api/v1/{path}", body, self.headers)
        with self.opener.open(request, timeout=30) as answer:
            return json.load(answer)

    def with_uuid(self, wanted):
        """The connections that bear this UUID."""
        query = urllib.parse.quote(f"(filters:!((col:uuid,opr:eq,value:'{wanted}')))")
        return self(f"database/?q={query}")["result"]


def listed(datasource):
    return next(one for one in command("datasource", "list") if one["name"] == datasource)


@claim("Sales is in Superset, under our UUID and managed externally")
def connection_is_ours():
    ours = listed(SAMPLE)["uuid"]
    assert uuid.UUID(ours).version == 5, f"{ours} is not made from a name"
    [found] = api.with_uuid(ours)
    whole = api(f"database/{found['id']}")["result"]
    seen = (whole["database_name"], whole["uuid"], whole["is_managed_externally"])
    assert seen == ("Sales", ours, True), f"it is {seen}"


@claim("Sales answers `SELECT count(*)` through SQL Lab")
def connection_answers():
    [found] = api.with_uuid(listed(SAMPLE)["uuid"])
    query = {"database_id": found["id"], "sql": "SELECT count(*) AS orders FROM orders", "client_id": "demo"}
    rows = api("sqllab/execute/", {**query, "runAsync": False})["data"]
    assert rows == [{"orders": look.ORDERS}], f"it answers {rows}"


@claim("Warehouse, whose server is down, is unreachable and not in Superset")
def dead_database_is_told():
    seen = listed(DOWN)
    assert seen["state"] == "unreachable", f"it is {seen['state']}"
    assert "127.0.0.1:1" in seen["error"], f"its error is {seen['error']}"
    assert not api.with_uuid(seen["uuid"]), "it is in Superset"


@claim("the agent answers /livez, /readyz, /status and /metrics")
def agent_answers():
    for path in ("livez", "readyz"):
        assert look.get(f"{agent}/{path}")[1] == "ok\n", f"/{path} does not say ok"
    metrics = look.get(f"{agent}/metrics")[1]
    for line in ("setkeeper_zookeeper_connected 1", "setkeeper_is_leader 1", 'setkeeper_datasources{state="unreachable"} 1'):
        assert line in metrics.splitlines(), f"/metrics lacks {line}"
    own = look.status(agent)["instance"]
    assert (own["state"], own["error"]) == ("in_sync", None), f"/status says {own['state']}, {own['error']}"


@claim("the instance has its record in ZooKeeper, and leads")
def instance_has_its_record():
    seen = command("status")
    assert [one["id"] for one in seen["instances"]] == [INSTANCE], f"the records are {seen['instances']}"
    assert seen["leader"] == INSTANCE, f"the leader is {seen['leader']}"
    with socket.create_connection(("127.0.0.1", int(zookeeper_port)), timeout=5) as link:
        link.sendall(b"mntr")
        counts = dict(line.split("\t") for line in link.makefile().read().splitlines() if "\t" in line)
    # The record, and the contender for the lead.
    assert int(counts["zk_ephemerals_count"]) == 2, f"ZooKeeper holds {counts['zk_ephemerals_count']} ephemeral nodes"


@claim("the edited znode has arrived: Superset answers with the new revision and name")
def edit_arrived():
    seen, wanted = look.app_name(superset), command("config", "get", "APP_NAME")
    assert (seen, wanted) == (name, name), f"the page says {seen}, the tree {wanted}"
    revision = look.status(agent)["instance"]["applied"]["revision"]
    assert look.loaded(superset) == revision, f"Superset runs {look.loaded(superset)}, the agent applied {revision}"


api = Api()
prove()

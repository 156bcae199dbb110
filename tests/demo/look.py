"""Looks at what the demo runs: finds ports, waits for what should come about, and says what was seen.

    look.py ports WANTED...                          these ports of loopback, or free ones where they are taken
    look.py sample FILE                              make a DuckDB file with sample orders
    look.py built CARGO                              build the program with this cargo, print its path
    look.py zookeeper PORT                           wait until ZooKeeper serves
    look.py appears FILE ANSWER                      wait until FILE is there, print ANSWER
    look.py arrived AGENT SUPERSET                   wait until Superset runs what the agent applied, and no datasource is
                                                     pending; print the revision
    look.py told COMMAND...                          run COMMAND of Setkeeper, print the last thing it said
    look.py change AGENT SUPERSET FILE NAME COMMAND...
                                                     run COMMAND, wait until Superset's name is NAME and the agent has verified
                                                     it, tell how it got there

AGENT and SUPERSET are URLs. Only the standard library, but for `sample`: any Python 3.11 will do.
"""

import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ORDERS = 500
PATIENCE = 90
HEADER = "X-Setkeeper-Revision"
NOT_YET = (OSError, http.client.HTTPException)

# A proxy that the environment names has no business on loopback.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url):
    """The answer's headers and text; whatever is wrong with it is one of NOT_YET."""
    with direct.open(url, timeout=30) as answer:
        return answer.headers, answer.read().decode()


seen = []


def note(sentence):
    """Tells what is seen on the way, once."""
    if seen[-1:] != [sentence]:
        seen.append(sentence)
        print(sentence, file=sys.stderr, flush=True)


def wait_for(what, look, patience=PATIENCE):
    """What `look` returns once it is true; it may fail with NOT_YET until then."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except NOT_YET as error:
            note(f"{what} not yet: {error}")
        time.sleep(0.1)
    sys.exit(f"error: {what} not within {patience} s")


def ports(*wanted):
    """All are held until all are found, so that no two are the same."""
    held = []
    for port in wanted:
        for candidate in (int(port), 0):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", candidate))
                listener.listen()
            except OSError:
                continue
            held.append(listener)
            break
    print(*[listener.getsockname()[1] for listener in held])


def sample(file):
    import duckdb

    with duckdb.connect(file) as connection:
        connection.execute(
            f"""CREATE TABLE orders AS SELECT
                n AS id,
                DATE '2026-01-01' + CAST(n * 7 % 365 AS INTEGER) AS day,
                ['north', 'south', 'east', 'west'][1 + n % 4] AS region,
                ['chair', 'desk', 'lamp'][1 + n % 3] AS product,
                CAST(20 + n * 37 % 480 AS DECIMAL(9, 2)) AS amount
            FROM range(1, {ORDERS + 1}) AS numbers(n)"""
        )
    print(f"{ORDERS} orders")


def built(cargo):
    """Only cargo's messages know where the program is: target folders can be set in four places."""
    command = [cargo, "build", "--locked", "--bin", "setkeeper", "--message-format", "json-render-diagnostics"]
    build = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if build.returncode:
        sys.exit(build.returncode)
    messages = map(json.loads, build.stdout.splitlines())
    [program] = [message["executable"] for message in messages if message.get("executable")]
    print(program)


def zookeeper(port):
    """`ruok` is answered before it serves; `srvr` shows a mode only once it does."""

    def mode():
        with socket.create_connection(("127.0.0.1", int(port)), timeout=5) as link:
            link.sendall(b"srvr")
            return b"Mode:" in link.makefile("rb").read()

    wait_for("ZooKeeper serves", mode)
    print(f"127.0.0.1:{port}")


def appears(file, answer):
    wait_for(f"{file} is there", lambda: pathlib.Path(file).exists())
    print(answer)


def status(agent):
    return json.loads(get(f"{agent}/status")[1])


def loaded(superset):
    """The revision that Superset runs."""
    return get(f"{superset}/health")[0][HEADER]


def app_name(superset):
    title = re.search(r"<title>(.*?)</title>", get(f"{superset}/login/")[1], re.DOTALL)
    return title and title[1].strip()


def arrived(agent, superset):
    def revision():
        report = status(agent)
        own, states = report["instance"], [one["state"] for one in report["datasources"]]
        note(f"agent {own['state']}, Superset {'up' if own['superset']['healthy'] else 'not up yet'}")
        revision = own["applied"]["revision"]
        in_sync = own["state"] == "in_sync" and own["desired"] == own["applied"] and revision
        settled = in_sync and states and "pending" not in states
        return settled and all(loaded(superset) == revision for _ in range(3)) and revision

    print(wait_for("Superset is in line", revision))


def told(*command):
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)
    print(done.stderr.splitlines()[-1])


def change(agent, superset, file, name, *command):
    old = wait_for("Superset has a name", lambda: (loaded(superset), app_name(superset)))
    began = time.time()
    subprocess.run(command, check=True, stdout=sys.stderr)
    wait_for(f"Superset's name is {name}", lambda: loaded(superset) != old[0] and app_name(superset) == name)
    took, written = time.time() - began, pathlib.Path(file).stat().st_mtime - began

    def verified():
        own = status(agent)["instance"]
        note(f"Superset is called {name}, the agent is {own['state']}")
        return own["state"] == "in_sync" and own["applied"]["revision"] == loaded(superset)

    wait_for("the agent has verified it", verified)
    print(f"{HEADER:24} {old[0]} -> {loaded(superset)}")
    print(f"{'title of the login page':24} {old[1]} -> {name}")
    print(f"rendered after {written:.2f} s, live after {took:.1f} s")


if __name__ == "__main__":
    verbs = {verb.__name__: verb for verb in (ports, sample, built, zookeeper, appears, arrived, told, change)}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])

"""Follows rollouts for the demo, and asks Superset all the while.

    rollout.py in_line AGENT SUPERSET                        wait until Superset runs what its agent applied, print the revision
    rollout.py rests SETKEEPER...                            wait until the rollout that goes on is completed
    rollout.py completes|stops SEEN TITLE SETKEEPER... -- COMMAND...
                                                             run COMMAND of Setkeeper, follow the rollout until it rests; fail
                                                             unless it is completed, or unless it was stopped
    rollout.py last_good SETKEEPER...                        print the number under which the completed release came first
    rollout.py load FILE NAME=SUPERSET...                    ask each of these five times a second until TERM

AGENT and SUPERSET are URLs, SETKEEPER... the command line that commands are added to. SEEN and FILE get one JSON record a line:
what was seen, and when. Only the standard library.
"""

import json
import subprocess
import sys
import textwrap
import threading
import time

import look

# The first start makes the database that checks use, and three Supersets start on one machine.
PATIENCE = 300
EVERY = 0.2


def in_line(agent, superset):
    def revision():
        own = look.status(agent)["instance"]
        look.note(f"{own['state']}, Superset {'up' if own['superset']['healthy'] else 'not up yet'} {own['error'] or ''}")
        applied = own["applied"]["revision"]
        return own["state"] == "in_sync" and look.loaded(superset) == applied and applied

    print(look.wait_for("Superset is in line", revision, PATIENCE))


def rests(*setkeeper):
    command = [*setkeeper, "rollout", "status", "--watch", "--until-done"]
    if code := subprocess.run(command, stdout=sys.stderr).returncode:
        sys.exit(f"error: the rollout ended with {code}")
    print("completed")


def record(file, **what):
    """One line, written whole, so that who reads meanwhile sees whole records."""
    file.write(json.dumps({"at": time.time(), **what}) + "\n")
    file.flush()


def follow(file, title, setkeeper):
    """Every state of the rollout until it rests, each with its time; and how the command ended."""
    command = [*setkeeper, "rollout", "status", "--watch", "--until-done", "-o", "json"]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    states = []
    for line in watch.stdout:
        states.append((time.time(), json.loads(line)))
        record(file, step=title, rollout=states[-1][1])
        look.note(", ".join(f"{one['id']} {one['state']}" for one in states[-1][1]["instances"]))
    return states, watch.wait()


def rolls(wanted, seen, title, *words):
    setkeeper, command = words[: words.index("--")], words[words.index("--") + 1 :]
    with open(seen, "a", encoding="utf-8") as file:
        record(file, step=title, began=True)
        began = time.time()
        if subprocess.run([*setkeeper, *command], stdout=sys.stderr).returncode:
            sys.exit(f"error: this command failed: {' '.join(command)}")
        states, code = follow(file, title, setkeeper)
        record(file, step=title, ended=code)
    if code != wanted:
        sys.exit(f"error: the rollout ended with {code}")
    last = states[-1][1]
    for stand in last["instances"]:
        ways, before = [], None
        for at, rollout in states:
            [now] = [one["state"] for one in rollout["instances"] if one["id"] == stand["id"]] or ["gone"]
            if now != before:
                ways.append(f"{now} {at - began:.0f} s")
            before = now
        print(f"{stand['id']:8} {', '.join(ways)}")
    if wanted:
        [bad] = [bad for bad in last["quarantine"] if bad["release"] == last["published"]][-1:]
        print(textwrap.shorten(f"{bad['instance']} found: {bad['reason']}", 110, placeholder=" …"))
        print(f"stopped at {bad['instance']}")
    else:
        print(f"completed on {len(last['instances'])} instances")


def completes(*words):
    rolls(0, *words)


def stops(*words):
    rolls(1, *words)


def answer(setkeeper, *command):
    return json.loads(subprocess.run([*setkeeper, *command, "-o", "json"], check=True, stdout=subprocess.PIPE).stdout)


def last_good(*setkeeper):
    completed = answer(setkeeper, "rollout", "status")["completed"]
    print(min(entry["seq"] for entry in answer(setkeeper, "config", "history") if entry["digest"] == completed))


def ask(file, lock, name, url):
    """Each failure, each change of revision, and every few seconds how many requests there were."""
    revision, count, longest = None, 0, 0.0
    while True:
        began = time.monotonic()
        news = {}
        try:
            headers, _ = look.get(url + ("/login/" if count % 4 == 0 else "/health"))
            before, revision = revision, headers[look.HEADER]
            if before not in (None, revision):
                news["revision"] = revision
        except look.NOT_YET as error:
            news["failed"] = str(error)
        took = time.monotonic() - began
        count, longest = count + 1, max(longest, took)
        if news or count % 10 == 0:
            with lock:
                record(file, instance=name, count=count, longest=longest, **news)
        time.sleep(max(0.0, EVERY - took))


def load(path, *addresses):
    lock = threading.Lock()
    with open(path, "a", encoding="utf-8") as file:
        threads = [threading.Thread(target=ask, args=(file, lock, *address.split("=", 1)), daemon=True) for address in addresses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    verbs = {verb.__name__: verb for verb in (in_line, rests, completes, stops, last_good, load)}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])

"""Proves what the rollout demo shows, by what Superset answered meanwhile and by what the cluster said of itself.

    prove_rollout.py SEEN LOAD NAME INSTANCE=SUPERSET... -- SETKEEPER...

SEEN and LOAD are what `rollout.py` wrote, NAME is what every Superset should be called by now. Only the standard library.
"""

import json
import pathlib
import sys

import look
import rollout
from claims import claim, prove

seen, load, name, *words = sys.argv[1:]
addresses = dict(word.split("=", 1) for word in words[: words.index("--")])
setkeeper = words[words.index("--") + 1 :]


def records(path):
    # What is being written at this moment may be half a line.
    return [json.loads(line) for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines() if line.endswith("}")]


SEEN, LOAD = records(seen), records(load)
GOOD, UNLOADABLE, BACK, SILENT, BACK_AGAIN = list(dict.fromkeys(record["step"] for record in SEEN))
SOAK = 3


def during(step):
    """What the instances answered while a step went on."""
    began, ended = (next(one["at"] for one in SEEN if one["step"] == step and key in one) for key in ("began", "ended"))
    return [one for one in LOAD if began <= one["at"] <= ended]


def states(step):
    return [one["rollout"] for one in SEEN if one["step"] == step and "rollout" in one]


def changed(step):
    return [one["instance"] for one in during(step) if "revision" in one]


def failures(step):
    return [one for one in during(step) if "failed" in one]


def asked(step):
    """How many requests each instance had, as far as it was written down."""
    counts = [[one["count"] for one in during(step) if one["instance"] == instance] for instance in addresses]
    return sum(count[-1] - count[0] for count in counts if count)


def at_most_one_reloads(step):
    for state in states(step):
        reloading = [one["id"] for one in state["instances"] if one["state"] == "reloading"]
        assert len(reloading) <= 1 and len(state["slots"]) <= 1, f"at once: {reloading}, {state['slots']}"


@claim("the good config reached one instance after the other")
def one_by_one():
    at_most_one_reloads(GOOD)
    # While a gunicorn hands over, the old one answers now and then, too.
    first = {}
    for one in during(GOOD):
        if "revision" in one:
            first.setdefault(one["instance"], one["at"])
    moments = sorted(first.values())
    gaps = [after - before for before, after in zip(moments, moments[1:])]
    assert len(gaps) == len(addresses) - 1 and min(gaps) >= SOAK, f"they changed {gaps} s after one another"
    return ", ".join(f"{gap:.0f} s" for gap in gaps) + " apart"


@claim("no request failed while it did")
def none_failed():
    assert not failures(GOOD), f"{len(failures(GOOD))} failed: {failures(GOOD)[0]}"
    assert asked(GOOD) > 30, f"only {asked(GOOD)} were made"
    longest = max(one["longest"] for one in during(GOOD))
    return f"of {asked(GOOD)}; the longest until then took {longest:.2f} s"


@claim("the config that does not load was on no instance, and no request failed")
def check_stops():
    assert not changed(UNLOADABLE), f"these answered with another revision: {changed(UNLOADABLE)}"
    assert not failures(UNLOADABLE), f"{len(failures(UNLOADABLE))} failed: {failures(UNLOADABLE)[0]}"
    [bad] = [bad for bad in states(UNLOADABLE)[-1]["quarantine"] if bad["release"] == states(UNLOADABLE)[-1]["published"]][-1:]
    assert "nowhere" in bad["reason"], f"the reason is {bad['reason']}"


@claim("the config that does not serve was on the first instance alone, which came back by itself")
def verify_stops():
    at_most_one_reloads(SILENT)
    [bad] = [bad for bad in states(SILENT)[-1]["quarantine"] if bad["release"] == states(SILENT)[-1]["published"]][-1:]
    others = {one["instance"] for one in during(SILENT) if "failed" in one or "revision" in one} - {bad["instance"]}
    assert not others, f"these noticed: {others}"
    applied = {one["id"]: one["applied"] for one in states(GOOD)[-1]["instances"]}
    now = {one["id"]: one["applied"] for one in states(SILENT)[-1]["instances"]}
    assert now == applied, f"they run {now}"
    return f"{len(failures(SILENT))} requests failed on {bad['instance']}, none elsewhere"


@claim("going back reloaded nobody: each ran the good release still")
def rollback_is_quiet():
    for step in (BACK, BACK_AGAIN):
        assert not changed(step) and not failures(step), f"{step}: {changed(step)}, {failures(step)[:1]}"


@claim("every Superset answers with what its agent applied, and the name of the good config")
def all_are_in_line():
    status = rollout.answer(setkeeper, "rollout", "status")
    assert status["published"] == status["completed"], f"{status['published']} is published, {status['completed']} completed"
    assert [one["id"] for one in status["instances"]] == sorted(addresses), f"the records are {status['instances']}"
    for one in status["instances"]:
        superset = addresses[one["id"]]
        assert one["state"] == "in_sync", f"{one['id']} is {one['state']}"
        assert look.loaded(superset) == one["applied"]["revision"], f"{one['id']} runs {look.loaded(superset)}"
        assert look.app_name(superset) == name, f"{one['id']} is called {look.app_name(superset)}"


@claim("the history tells what each release changed, and what was gone back to")
def history_tells():
    told = [(entry["changed"], entry["message"]) for entry in rollout.answer(setkeeper, "config", "history")[1:]]
    cache, limit, back = ["CACHE_CONFIG"], ["RATELIMIT_ENABLED"], "rollback to 2"
    assert told == [(["APP_NAME"], None), (cache, None), (cache, back), (limit, None), (limit, back)], f"it tells {told}"


prove()

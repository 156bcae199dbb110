"""README's section "Install on Kubernetes", run word for word: its commands, in their order, as they stand there.

Run by `tests/deploy/kube/run readme`, in a network namespace that has nothing but loopback. `helm` and `kubectl` are the real ones; `docker` is podman, with
base images that are here; the cluster is that of the folder `cluster`. MAJOR says which Helm installs the trial (default: 4); the other one installs what is for
more than a trial.
"""

import os
import re
import signal
import subprocess
import sys
import traceback

import production
from cluster import Cluster
from installation import People, Release, Shell, blocks, is_settled, say
from kubelet import Failed, eventually

# A machine that has other things to do is slow, and nothing is wrong with that.
PATIENCE = 600
TRIAL = int(os.environ.get("MAJOR", "4"))


def trial(cluster):
    shell = Shell(cluster, TRIAL)
    build, install, change, leave = blocks()[0], blocks()[1], blocks()[2], blocks()[3]
    say(f"the trial, by Helm {TRIAL}")
    shell.run(build)
    said = shell.run(install)
    assert re.search(r"^Phase: +Succeeded$", said, re.M), said
    release = Release(cluster, shell)
    first, secrets = release.is_whole(), release.secrets()
    say("  ✓ web, worker and beat are in line, nothing had to be started twice, and Superset answers with their revision")
    change_setting, upgrade = change.partition("helm upgrade")[0], "helm upgrade" + change.partition("helm upgrade")[2]
    shell.run(change_setting)
    eventually("the setting has reached every Superset", lambda: is_settled(release) and "Our dashboards" in release.ask("/login/")[2], PATIENCE, 3)
    assert release.is_whole() != first
    say("  ✓ a setting that is published in a pod has reached Superset, which serves the new revision")
    shell.run("kubectl delete pod superset-setkeeper-zookeeper-0 superset-setkeeper-postgresql-0")
    eventually("both are back", lambda: len(release.ready()) == len(release.pods()) == 7 and is_settled(release), PATIENCE, 3)
    assert release.ask("/login/")[0] == 200
    say("  ✓ the trial's ZooKeeper and PostgreSQL keep what they have when their pods end")
    before = release.pods()
    with People(release.ask) as people:
        shell.run(upgrade)
        # Helm 3 waits for the new pods, not for the end of the old ones.
        replaced = lambda: not {pod for pod in release.pods() & before if not pod.endswith("-0")}
        eventually("the old pods are gone, and the new ones in line", lambda: replaced() and is_settled(release), PATIENCE, 3)
    assert people.answers and set(people.answers) == {200}, people.answers
    assert release.secrets() == secrets and len(secrets) == 2, "an upgrade has changed what was made at random"
    release.is_whole()
    assert "Our dashboards" in release.ask("/login/")[2]
    say(f"  ✓ an upgrade has replaced the pods and kept the Secrets; none of {len(people.answers)} requests failed meanwhile")
    uninstall, rest = leave.splitlines()
    shell.run(uninstall)
    kept = [("Secret", "default", name) for name in sorted(secrets)]
    eventually("all but the Secrets is gone", lambda: cluster.left() == kept, PATIENCE, 1)
    shell.run(rest)
    assert cluster.left() == [], cluster.left()
    say("  ✓ nothing is left but the Secrets that the README names, and these go as it says")


def outcome(cluster, scenario):
    """Plays it; where it fails, every container says what it has to say, and every part of the cluster what ended it."""
    with cluster:
        try:
            scenario(cluster)
        except BaseException:
            for run in cluster.node.runs.values():
                for container in run.all():
                    if run.thread.is_alive() and run.states[container["name"]]["state"] != "waiting":
                        say(f"--- {run.key[2]}, {container['name']}: {run.states[container['name']]['state']}\n{run.pod.log(container['name'])[-2500:]}")
            for failure in cluster.failures():
                say(f"--- a part of the cluster ended before its time: {failure!r}")
            raise
        assert cluster.failures() == [], cluster.failures()


def main():
    # To be told to end is no excuse to leave pods behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcome(Cluster(), trial)
    outcome(Cluster(hosts=production.HOSTS), lambda cluster: production.installation(cluster, ({3, 4} - {TRIAL}).pop()))


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, Failed, subprocess.SubprocessError) as failure:
        traceback.print_exc()
        sys.exit(f"error: {failure}")

"""The images by themselves: size, user, labels, what lies in them, and that they run from nothing but themselves.

Run by `tests/deploy/kube/run image`, for the images whose tag begins with the prefix in IMAGES: of all targets of the Dockerfile, either made with a
program that was built outside, or with what its own Rust stage made.
"""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

import chart
from kubelet import Failed, podman, run

IMAGES = os.environ.get("IMAGES", "localhost/setkeeper:")
LARGEST = 20 * 1000 * 1000
DOCKERFILE = chart.HERE.parents[2] / "deploy" / "Dockerfile"
# What a container gets besides is podman's.
PODMANS = ("dev/", "proc/", "sys/", "run/", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")
ALONE = ["run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--no-healthcheck"]


def say(text):
    print(text, flush=True)


def inspected(name):
    return json.loads(podman("image", "inspect", name).stdout)[0]


def files_of(name):
    """All that is not a folder in an image."""
    container = podman("create", "--network", "none", name).stdout.strip()
    try:
        exported = subprocess.run(["podman", "export", container], capture_output=True, check=True).stdout
    finally:
        podman("rm", container)
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        return {member.name for member in archive if not member.isdir() and not member.name.startswith(PODMANS)}


def version():
    return re.search(r"^ARG VERSION=(\S+)$", DOCKERFILE.read_text(), re.M)[1]


def said_of_each(target):
    seen = inspected(IMAGES + target)
    config = seen["Config"]
    user = config["User"].split(":")
    assert all(part.isdigit() and part != "0" for part in user) and len(user) == 2, user
    labels = {label: config["Labels"].get(f"org.opencontainers.image.{label}") for label in ("title", "source", "licenses", "revision")}
    assert all(labels.values()), labels
    assert config["Labels"]["org.opencontainers.image.version"] == version() == chart.VERSION, config["Labels"]
    check = seen.get("HealthCheck", seen.get("Healthcheck")) or {}
    wanted = None if target == "binary" else ["CMD", "/usr/local/bin/setkeeper", "health"]
    assert check.get("Test") == wanted, (target, check)
    assert podman(*ALONE, IMAGES + target, "--version").stdout == f"setkeeper {version()}\n"
    return config["Labels"]["org.opencontainers.image.description"]


def the_agent():
    size, kept = inspected(IMAGES + "agent")["Size"], files_of(IMAGES + "agent")
    assert size <= LARGEST, size
    assert kept == {"usr/local/bin/setkeeper", "etc/ssl/certs/ca-certificates.crt"}, kept
    asked = podman(*ALONE, IMAGES + "agent", "health", check=False)
    assert asked.returncode == 1 and "failed to ask the agent" in asked.stderr, asked
    say(f"  ✓ the agent's is what it is to be: {size / 1e6:.1f} MB, nothing in it but the program and certificates")


def the_program_alone():
    assert files_of(IMAGES + "binary") == {"usr/local/bin/setkeeper"}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        podman(*ALONE, "--volume", f"{folder}:/setkeeper", IMAGES + "binary")
        assert run(f"{folder}/setkeeper", "--version").stdout == f"setkeeper {version()}\n"
    say("  ✓ the image of the program alone copies it to a folder that it is given")


def the_one_with_a_python():
    environment = dict(variable.split("=", 1) for variable in inspected(IMAGES + "python")["Config"]["Env"])
    assert environment["SETKEEPER_CHECK__REQUIRE"] == "syntax", environment
    asked = podman(*ALONE, "--entrypoint", environment["SETKEEPER_CHECK__PYTHON"], IMAGES + "python", "-c", "print(6 * 7)")
    assert asked.stdout == "42\n", asked
    say("  ✓ the image with a Python has one where the agent looks for it")


def judge():
    descriptions = {said_of_each(target) for target in ("binary", "python", "agent")}
    assert len(descriptions) == 3 and all(descriptions), descriptions
    say("  ✓ every image has a user by number, its labels, and a health check where an agent runs")
    the_agent()
    the_program_alone()
    the_one_with_a_python()


if __name__ == "__main__":
    try:
        say(f"the images {IMAGES}…")
        judge()
    except (AssertionError, Failed, subprocess.SubprocessError) as failure:
        sys.exit(f"error: {failure}")

"""The chart as the tests see it: rendered by one of Helm's majors."""

import os
import subprocess
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
CHART = HERE.parents[2] / "helm" / "setkeeper"
KUBE = Path(os.environ["KUBE"])
PROGRAM = Path(os.environ["SETKEEPER_PROGRAM"])
RELEASE = "it"
MAJORS = (3, 4)
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def helm(major, *words, values=None, check=True):
    """Helm with these values; away from whatever settings this machine's Helm has."""
    words = [str(KUBE / f"helm-{major}" / "helm"), *map(str, words)]
    if values is not None:
        words += ["--values", "-"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(KUBE), "TMPDIR": "/tmp"}
    text = yaml.safe_dump(values) if values is not None else None
    ended = subprocess.run(words, input=text, capture_output=True, text=True, env=environment, timeout=60)
    if check and ended.returncode != 0:
        raise AssertionError(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")
    return ended


def rendered(major, values):
    """Every object that an installation with these values makes."""
    text = helm(major, "template", RELEASE, CHART, values=values).stdout
    return [found for found in yaml.safe_load_all(text) if found]


def merged(*layers):
    """Values as Helm merges them."""
    result = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result

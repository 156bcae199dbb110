"""Says which Superset this Python has, without importing it."""

import importlib.metadata
import importlib.util
import os
import sys

import setkeeper_prelude as prelude

prelude.begin()
spec = importlib.util.find_spec("superset")
if spec is None or not spec.submodule_search_locations:
    prelude.answer(version=None)
    prelude.end()


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


# What the metadata database looks like depends on the migrations, which a build of one's own may have more of, and on the
# framework that keeps the users.
folder = os.path.join(list(spec.submodule_search_locations)[0], "migrations", "versions")
try:
    migrations = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
except FileNotFoundError:
    migrations = []
prelude.answer(
    version=version_of("apache-superset"),
    schema=[sys.prefix, version_of("apache-superset"), version_of("Flask-AppBuilder"), *migrations],
)
prelude.end()

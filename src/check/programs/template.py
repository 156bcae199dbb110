"""Makes the migrated metadata database of which every check gets a copy: `superset db upgrade` on an empty SQLite file."""

import os
import sys

import setkeeper_prelude as prelude

job = prelude.begin()
config = os.path.join(job["home"], "setkeeper_template.py")
with open(config, "w", encoding="utf-8") as file:
    file.write(
        f"SECRET_KEY = {os.urandom(32).hex()!r}\n"
        f"SQLALCHEMY_DATABASE_URI = {'sqlite:///' + job['template']!r}\n"
        "RATELIMIT_ENABLED = False\n"
    )
# Nothing of production's may come in: neither its config nor the variable that beats any config.
for name in ("SUPERSET_CONFIG", "SUPERSET__SQLALCHEMY_DATABASE_URI", "SUPERSET__SQLALCHEMY_EXAMPLES_URI"):
    os.environ.pop(name, None)
os.environ["SUPERSET_CONFIG_PATH"] = config
os.environ["FLASK_APP"] = "superset.app:create_app()"

from superset.cli.main import superset  # noqa: E402

sys.argv = ["superset", "db", "upgrade"]
try:
    superset()
except SystemExit as ended:
    if ended.code:
        prelude.end()
prelude.answer(made=True)
prelude.end()

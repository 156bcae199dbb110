# shellcheck shell=bash
# A Superset's home: the folder with its minimal config (base.py), its SQLite metadata (superset.db) and whatever else
# Superset writes. Used by the set-up, to make the template, and by the script that runs Superset. Needs common.bash.

# python_text TEXT: TEXT as a Python string literal.
python_text() {
  local text="${1//\\/\\\\}"
  printf '"%s"' "${text//\"/\\\"}"
}

# write_base HOME PORT METADATA: HOME/base.py, left alone where it already says the same, because an agent may watch it.
# METADATA empty = the SQLite database in HOME.
write_base() {
  local home="$1" port="$2" metadata="${3:-sqlite:///$1/superset.db}"
  cat >"$home/base.py.draft" <<PYTHON
# The least that this Superset needs; for tests and demonstrations on loopback only: the key is no secret.
SECRET_KEY = "for-tests-on-loopback-only-and-never-for-production"
SQLALCHEMY_DATABASE_URI = $(python_text "$metadata")
SUPERSET_WEBSERVER_PORT = $port
WEBDRIVER_BASEURL = "http://127.0.0.1:$port/"
RATELIMIT_ENABLED = False

# To name the types of a MySQL result Superset imports MySQLdb, whichever driver the connection uses.
import pymysql
pymysql.install_as_MySQLdb()
PYTHON
  if cmp -s -- "$home/base.py.draft" "$home/base.py"; then
    rm -- "$home/base.py.draft"
  else
    mv -- "$home/base.py.draft" "$home/base.py"
  fi
}

# superset_env HOME CONFIG: what Superset reads from its environment. 5.0.0 and 4.1.4 need FLASK_APP for their commands.
superset_env() {
  export SUPERSET_HOME="$1" SUPERSET_CONFIG_PATH="$2" FLASK_APP='superset.app:create_app()'
}

# bootstrap FOLDER HOME: migrate the metadata that HOME/base.py names and give it the user admin/admin and the roles.
bootstrap() {
  local superset="$1/venv/bin/superset"
  (
    superset_env "$2" "$2/base.py"
    "$superset" db upgrade &&
      "$superset" fab create-admin --username admin --firstname Admin --lastname Admin --email admin@localhost \
        --password admin &&
      "$superset" init
  )
}

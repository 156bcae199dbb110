# shellcheck shell=bash
# The machine as its owner has it before Setkeeper comes: ZooKeeper on loopback, a Superset in /opt/superset with a unit, a
# user and a config of its own. Needs lib.bash.

readonly SUPERSET="$CACHE/superset-6.1.0"
# A Java that was unpacked beside ZooKeeper is lent too; the machine has none.
java=(--bind-ro="$CACHE/java")

# make_machine: a copy of the Debian, with what is put there before the boot.
make_machine() {
  machine="$WORK/machine"
  cp -a --reflink=auto -- "$DEBIAN/root" "$machine"
  printf 'setkeeper-test\n' >"$machine/etc/hostname"
  # A Superset of Debian's own Python; its packages come from this host's environment.
  [[ -d "$SUPERSET/venv/lib/python3.11/site-packages" ]] ||
    fail 'failed to find a Superset for Debian 12, whose Python is 3.11' 'set it up where a python3.11 is on PATH'
  mkdir -p -- "$machine"/opt/superset/{bin,lib/python3.11/site-packages} "$machine/var/lib/superset" "$machine/etc/superset"
  printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n' >"$machine/opt/superset/pyvenv.cfg"
  ln -s /usr/bin/python3.11 "$machine/opt/superset/bin/python"
  for name in gunicorn superset; do
    sed '1s|.*|#!/opt/superset/bin/python|' "$SUPERSET/venv/bin/$name" >"$machine/opt/superset/bin/$name"
    chmod 755 "$machine/opt/superset/bin/$name"
  done
  cp -- "$SUPERSET/template.db" "$machine/var/lib/superset/superset.db"
  write_base "$machine/etc/superset" 8088 'sqlite:////var/lib/superset/superset.db'
  mv -- "$machine/etc/superset/base.py" "$machine/etc/superset/superset_config.py"
  cp -- "$ROOT/deploy/systemd/superset.service" "$machine/etc/systemd/system/"
  mkdir -p -- "$machine/root/target"
  cp -r -- "$WORK/dist" "$machine/root/target/"
  cp -r -- "$WORK/later" "$machine/root/"
  cp -- "$here/load.py" "$machine/root/"
}

# start_machine: boot it, and wait for ZooKeeper and Superset.
start_machine() {
  step 'boot the machine' boot "$machine" \
    --overlay-ro="$SUPERSET/venv/lib/python3.11/site-packages:$CACHE/debian-12-python:/opt/superset/lib/python3.11/site-packages" \
    --bind-ro="$CACHE/zookeeper" --bind-ro="$ROOT/tests/services" "${java[@]}"
  inside useradd --system --user-group --home-dir /var/lib/superset superset
  inside chown -R superset:superset /var/lib/superset
  inside systemd-run --quiet --unit zookeeper --setenv "SETKEEPER_CACHE=$CACHE" \
    "$ROOT/tests/services/zookeeper" run --port 2181 --dir /var/lib/zookeeper
  eventually 'ZooKeeper serves' 30 script 'exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; grep -q Mode <&3'
  inside systemctl enable --quiet --now superset
  eventually 'Superset serves' 120 answers
}

# answers: whether Superset does.
answers() { inside curl --silent --fail --max-time 5 --output /dev/null http://127.0.0.1:8088/health; }

# revision: of the config that Superset has loaded.
revision() {
  inside curl --silent --max-time 10 --head http://127.0.0.1:8088/login/ | tr -d '\r' | sed -n 's/^x-setkeeper-revision: //Ip'
}

# record EXPRESSION: of the agent's record, which Python calls `it`.
record() {
  inside setkeeper status -o json |
    python3 -c "import json, sys; it = json.load(sys.stdin)['instances'][0]; print($1)"
}

# serves LINE: the rendered file has the line, the agent is in line, and Superset answers with the revision that it says.
serves() {
  inside grep -q -- "^$1\$" /etc/superset/superset_config.py && [[ "$(record 'it["state"]')" == in_sync ]] &&
    [[ "$(revision)" == "$(record 'it["applied"]["revision"]')" ]]
}

# masters: the main processes of gunicorn, one a line; in a handoff the new one is the old one's child.
masters() {
  inside ps -eo pid=,ppid=,args= | awk '$3 == "/opt/superset/bin/python" && $4 == "/opt/superset/bin/gunicorn" { parent[$1] = $2 }
    END { for (pid in parent) if (!(parent[pid] in parent)) print pid }'
}

# under_load COMMAND...: run it while Superset is asked for pages 30 times a second, of which none may fail.
under_load() {
  local result
  inside rm -f /root/stop
  inside python3 /root/load.py http://127.0.0.1:8088 /root/stop >"$WORK/load" 2>"$WORK/failed" &
  local load=$!
  sleep 2
  "$@"
  sleep 2
  inside touch /root/stop
  wait "$load"
  read -r total failed longest <"$WORK/load"
  result="$failed of $total requests failed, the longest took $longest ms"
  printf '  under load: %s\n' "$result"
  same "$result: $(<"$WORK/failed")" 0 "$failed"
  ((total > 90)) || broken "too little load: $result"
}

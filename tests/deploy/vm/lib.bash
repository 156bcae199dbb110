# shellcheck shell=bash
# The machine of these tests: a Debian 12 booted by systemd-nspawn, and how commands are run in it. Needs common.bash.

TOOLS="$CACHE/nspawn"
DEBIAN="$CACHE/debian-12"

# needs_root: fails where a system cannot be booted.
needs_root() {
  ((EUID == 0)) || fail 'failed to make a machine for these tests: they need root' \
    'a booted systemd has files of many owners and mounts of its own: run this with sudo, or in a container of its own'
}

# boot FOLDER WORD...: boot a copy of the Debian in FOLDER, with further words for systemd-nspawn; sets `nspawn` and `init`.
boot() {
  local folder="$1" child
  shift
  LD_LIBRARY_PATH="$TOOLS/root/usr/lib/x86_64-linux-gnu/systemd" setsid "$TOOLS/root/usr/bin/systemd-nspawn" --quiet -D "$folder" \
    --boot --register=no --keep-unit --machine=setkeeper-test --private-network "$@" </dev/null >"$WORK/boot.log" 2>&1 &
  nspawn=$!
  for _ in {1..150}; do
    child="$(cat "/proc/$nspawn/task/$nspawn/children" 2>/dev/null || true)"
    init="${child%% *}"
    # What it answers before its bus is there is nothing.
    if [[ -n "$init" ]] && [[ "$(inside systemctl is-system-running 2>/dev/null)" =~ ^(running|degraded)$ ]]; then return 0; fi
    kill -0 "$nspawn" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$WORK/boot.log" >&2
  fail 'failed to boot the machine' 'its log is above; a container has to be allowed to mount and to make cgroups'
}

# power_off: end the machine, by force if need be. Everything in it ends with its first process.
power_off() {
  [[ -n "${nspawn:-}" ]] || return 0
  if [[ -n "${init:-}" ]]; then inside systemctl poweroff --no-block >/dev/null 2>&1 || true; fi
  for _ in {1..100}; do
    kill -0 "$nspawn" 2>/dev/null || break
    sleep 0.2
  done
  kill -KILL "$nspawn" 2>/dev/null || true
  wait "$nspawn" 2>/dev/null || true
  nspawn=''
}

# inside COMMAND...: run it as root in the machine, with nothing of this environment.
inside() {
  nsenter -t "$init" -a -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive "$@"
}

# script TEXT: the same, for lines of bash.
script() { inside bash -euo pipefail -c "$1"; }

# unit PROPERTY [UNIT]: what systemd says of it.
unit() { inside systemctl show --value --property "$1" "${2:-setkeeper}"; }

# journal UNIT SINCE: what it logged since a cursor.
journal() { inside journalctl --no-pager --output cat --unit "$1" --after-cursor "$2"; }

# cursor: the journal's end.
cursor() {
  inside journalctl --sync
  inside journalctl --quiet --lines 1 --show-cursor --output cat | sed -n 's/^-- cursor: //p'
}

# expect WHAT COMMAND...: fails the test unless it succeeds.
expect() {
  local what="$1"
  shift
  "$@" || broken "$what"
}

# same WHAT WANTED GOT
same() { [[ "$2" == "$3" ]] || broken "$1: expected ${2@Q}, got ${3@Q}"; }

# differs WHAT BEFORE NOW
differs() { [[ -n "$3" && "$2" != "$3" ]] || broken "$1: before and now ${3@Q}"; }

# has WHAT TEXT PART
has() { [[ "$2" == *"$3"* ]] || broken "$1: no ${3@Q} in ${2@Q}"; }

# eventually WHAT SECONDS COMMAND...: waits until it succeeds.
eventually() {
  local what="$1" end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || broken "$what: not within the time ($*)"
    sleep 0.3
  done
}

# broken WHAT: end with what the machine has to say.
broken() {
  printf '\nFAILED: %s\n  %s\n' "${current:-before the first test}" "$1" >&2
  if [[ -n "${init:-}" ]]; then
    { inside systemctl status --no-pager --lines 0 setkeeper superset || true
      inside journalctl --no-pager --lines 60 --output short-monotonic || true; } 2>&1 | sed 's/^/  | /' >&2
  fi
  exit 1
}

# readme HEADING NUMBER: the commands of a block of the README, as they stand there.
readme() {
  awk -v heading="## $1" -v wanted="$2" '
    /^## / { within = ($0 == heading) }
    within && /^```sh/ { block++; shown = (block == wanted); next }
    /^```/ { shown = 0 }
    shown { print }' "$ROOT/README.md"
}

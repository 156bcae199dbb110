# shellcheck shell=bash
# What every demonstration here needs: what people see, processes that all end, steps with progress, a room of its own.
#
# A script sets WORK, the folder below .cache that is its own, changes to the project's folder, and sources this; then it makes
# its room, sets the traps (`end_whatever_happens`), and takes one `step` after the other. However it ends, it ends what it
# started: every process it starts leads a group of its own and is known by its pid, and gets TERM from the kernel should the
# script be killed.

export LC_ALL=C.UTF-8
readonly HERE=tests/demo SERVICES="$PWD/tests/services" LOGS="$WORK/logs"
readonly LOOK=("$SERVICES/superset" python -B "$HERE/look.py")
# The account that tests/services gives every Superset: for loopback only.
readonly PASSWORD=admin

# Settings of the caller's own Setkeeper or Superset would win over those made here; a proxy has no business on loopback.
for name in "${!SETKEEPER_@}" "${!SUPERSET_@}"; do
  [[ "$name" =~ ^SETKEEPER_(CACHE|SYSTEM)$ ]] || unset "$name"
done
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

# --- what people see ---

bad='' faint='' plain=''
if [[ -t 1 && -z "${NO_COLOR:-}" ]]; then bad=$'\e[31m' faint=$'\e[2m' plain=$'\e[0m'; fi

say() { printf '%s\n' "$*"; }

# now: in microseconds. seconds SINCE: from such a time until now, with one digit.
now() { printf '%s' "${EPOCHREALTIME/./}"; }
seconds() {
  local tenths=$((($(now) - $1 + 50000) / 100000))
  printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

# show_progress TITLE LOG BEGAN: what a step that takes longer than a second is at: on a terminal one line that changes,
# elsewhere a line now and then. Sets `shown`, the second that was shown last.
show_progress() {
  local lasts=$((($(now) - $3) / 1000000)) line
  ((lasts >= 1 && lasts != shown)) || return 0
  shown=$lasts
  line="$(tail -c 300 -- "$2" | tr '\r' '\n' | grep -av '^ *$' | tail -n 1 || true)"
  line="$(printf %2d "$number")  $1 … $lasts s  $line"
  if [[ -t 1 ]]; then
    printf '\r\e[K%s' "${line:0:78}"
  elif ((lasts % 15 == 1)); then
    say "$line"
  fi
}

# tail_of LOG...: the ends of these logs, for who has to find out why.
tail_of() {
  local log
  for log in "$@"; do
    if [[ -s "$log" ]]; then
      printf '\n%s\n' "${log#"$PWD"/}"
      tail -n 15 -- "$log" | cut -c-300 | sed 's/^/  | /'
    fi
  done
}

fail() {
  {
    printf '\n%serror:%s %s\n' "$bad" "$plain" "$1"
    tail_of "${step_log:-}" "$LOGS"/[a-z]*.log
  } >&2
  exit 1
}

# --- processes ---

declare -A service_of=()
started=() child='' step_pid='' step_log=''

# pause: a tenth of a second without a process: nobody ever writes into that pipe.
pause() { read -r -t 0.1 -u "$never" || true; }

# runs PID: a process that has ended and waits to be asked how (Z) does not; within a trap, bash does not ask.
runs() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null && [[ "${stat##*) }" != Z* ]]
}

# spawn COMMAND...: start a program in the background as the leader of a process group; sets `child`.
spawn() {
  setsid setpriv --pdeathsig TERM "$@" </dev/null 9>&- {never}>&- &
  child=$!
}

# serve NAME PROGRAM...: start a service that is to run until the end.
serve() {
  spawn "${@:2}" >"$LOGS/$1.log" 2>&1
  disown "$child"
  started=("$child" "${started[@]}")
  service_of[$child]="$1"
}

# check_services: fail if one of them has ended by itself.
check_services() {
  local pid
  for pid in "${started[@]}"; do
    runs "$pid" || fail "${service_of[$pid]} ended by itself"
  done
}

# end PID: TERM to its whole group, and KILL to what is left of it once the leader has ended, or after ten seconds. Before
# setsid has run there is no group yet.
end() {
  local tries
  kill -TERM -- "-$1" 2>/dev/null || kill -TERM "$1" 2>/dev/null || return 0
  for ((tries = 0; tries < 100; tries++)); do
    runs "$1" || break
    pause
  done
  kill -KILL -- "-$1" 2>/dev/null || true
}

# end_all: in the reverse order of the start, so that agents can still take their leave of ZooKeeper.
end_all() {
  local code=$? began pid
  trap '' INT TERM HUP
  began="$(now)"
  printf '\nending what was started …'
  for pid in $step_pid "${started[@]}"; do end "$pid"; done
  printf ' done in %s; the logs stay in %s\n' "$(seconds "$began")" "${LOGS#"$PWD"/}"
  exit "$code"
}

# step TITLE COMMAND...: run it, show what it answers and how long it took, or fail with what it said; sets `answer`.
number=0 shown=0 answer=''
step() {
  local title="$1" began code=0 brief
  number=$((number + 1)) shown=0 began="$(now)" step_log="$LOGS/$number.log"
  spawn "${@:2}" >"$WORK/answer" 2>"$step_log"
  step_pid="$child"
  while runs "$child"; do
    pause
    show_progress "$title" "$step_log" "$began"
    check_services
  done
  wait "$child" || code=$?
  step_pid=''
  answer="$(<"$WORK/answer")"
  if [[ -t 1 ]]; then printf '\r\e[K'; fi
  ((code == 0)) || fail "this step failed: $title"
  step_log='' brief="${answer##*$'\n'}"
  printf '%2d  %-28s %-37s %s%8s%s\n' "$number" "$title" "$brief" "$faint" "$(seconds "$began")" "$plain"
}

# --- the room ---

# quoted TEXT: as YAML's single-quoted text.
quoted() { printf "'%s'" "${1//\'/\'\'}"; }

# make_room: .cache/demo, empty, for this run alone.
make_room() {
  mkdir -p -- "$WORK"
  exec 9>"$WORK/lock"
  if ! flock --nonblock 9; then
    printf 'error: a demo is running here already\n\nhint: end it with Ctrl-C in its terminal\n' >&2
    exit 1
  fi
  find "$WORK" -mindepth 1 ! -path "$WORK/lock" -delete
  mkdir -p -- "$LOGS"
  mkfifo -- "$WORK/never"
  exec {never}<>"$WORK/never"
}

# end_whatever_happens: from here on.
end_whatever_happens() {
  trap end_all EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}

# until_ctrl_c: which is then no failure.
until_ctrl_c() {
  trap 'exit 0' INT
  while true; do
    pause
    check_services
  done
}

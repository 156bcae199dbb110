# shellcheck shell=bash
# Shared by every script here: where the cache is, how a long step is shown, how an error reads, and how an install
# becomes visible only when it is whole. Sourced, never run. Installs nothing itself.

SERVICES="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${SETKEEPER_CACHE:-$(cd -- "$SERVICES/../.." && pwd)/.cache}"
[[ "$CACHE" = /* ]] || CACHE="$PWD/$CACHE"

# Whatever ends a script unforeseen says where; a misuse (2) has said all already.
trap 'code=$?; ((code == 2)) || printf "  (at %s:%d)\n" "${BASH_SOURCE[0]}" "$LINENO" >&2' ERR

# fail MESSAGE [HINT]: end with exit code 1, in the form that Setkeeper itself uses.
fail() {
  printf 'error: %s\n' "$1" >&2
  if [[ -n "${2:-}" ]]; then printf '\nhint: %s\n' "$2" >&2; fi
  exit 1
}

# misuse MESSAGE: end with exit code 2 and the usage comment of the script that was called.
misuse() {
  printf 'error: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

# usage: the script's own header comment, so that help and source cannot part.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; }

# value OPTION VALUE...: the word after an option, or misuse where it is missing.
value() {
  (($# >= 2)) || misuse "missing value for $1"
  printf '%s' "$2"
}

# port_and_dir run --port PORT --dir DIR: sets `port` and `dir`, for the scripts that take nothing else.
port_and_dir() {
  port='' dir=''
  [[ "${1:-}" == run ]] || misuse 'the only command is run'
  shift
  while (($#)); do
    case "$1" in
      --port) port="$(value "$@")" ;;
      --dir) dir="$(value "$@")" ;;
      *) misuse "unknown option: $1" ;;
    esac
    shift 2
  done
  [[ -n "$port" && -n "$dir" ]] || misuse '--port and --dir are required'
}

# machine_may_serve: whether programs that are already on the machine may be used in place of unpacked ones.
machine_may_serve() { [[ "${SETKEEPER_SYSTEM:-1}" != 0 ]]; }

# step TITLE COMMAND...: run it with its output in a log, show the time it takes, and show the log's end if it fails.
step() {
  local title="$1" log began=$SECONDS ticker='' code=0
  shift
  mkdir -p -- "$CACHE/logs"
  log="$CACHE/logs/$(tr -c 'a-zA-Z0-9.\n' '-' <<<"$title")-$$.log"
  if [[ -t 2 ]]; then
    (while sleep 1; do printf '\r… %s (%d s)' "$title" $((SECONDS - began)) >&2; done) &
    ticker=$!
  else
    printf '… %s\n' "$title" >&2
  fi
  "$@" >"$log" 2>&1 || code=$?
  if [[ -n "$ticker" ]]; then
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    printf '\r\033[K' >&2
  fi
  if ((code != 0)); then
    tail -n 20 -- "$log" | sed 's/^/  | /' >&2
    printf 'error: failed: %s\n  the whole log: %s\n' "$title" "$log" >&2
    return "$code"
  fi
  rm -f -- "$log"
  printf '✓ %s (%d s)\n' "$title" $((SECONDS - began)) >&2
}

# digest: of what is read from standard input.
digest() { sha256sum | cut -c1-16; }

# recipe WORD...: digest of what decides how an install comes out: the words given (names, versions, the text of a pins
# file) and the distribution whose packages are unpacked. Raise LAYOUT when the scripts begin to lay things out anew.
readonly LAYOUT=1
recipe() { { printf '%s\n' "$LAYOUT" "$@" && cat /etc/os-release; } | digest; }

# stamped FOLDER DIGEST: whether FOLDER holds a finished install of exactly these pins.
stamped() { [[ -f "$1/stamp" && "$(<"$1/stamp")" == "$2" ]]; }

# once FOLDER DIGEST BUILD...: unless FOLDER is finished already, call BUILD under a lock, then stamp FOLDER.
# BUILD must leave a whole FOLDER behind; the stamp comes last and by rename, so a half-made folder never counts.
once() {
  local folder="$1" pins="$2"
  shift 2
  if stamped "$folder" "$pins"; then return 0; fi
  mkdir -p -- "$CACHE/locks"
  (
    if ! flock --nonblock 9; then
      printf '… waiting for another set-up of %s\n' "${folder##*/}" >&2
      flock 9
    fi
    if stamped "$folder" "$pins"; then exit 0; fi
    rm -f -- "$folder/stamp"
    "$@"
    printf '%s\n' "$pins" >"$folder/stamp.new"
    mv -- "$folder/stamp.new" "$folder/stamp"
  ) 9>"$CACHE/locks/${folder##*/}"
}

# libraries ROOT: the folders of shared libraries below ROOT, joined for LD_LIBRARY_PATH.
libraries() {
  # Newer releases have nothing below /lib.
  { find "$1/lib" "$1/usr/lib" -maxdepth 2 -name '*.so*' -printf '%h\n' 2>/dev/null || true; } | sort -u | paste -sd:
}

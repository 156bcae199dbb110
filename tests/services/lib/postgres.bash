# shellcheck shell=bash
# Finds or installs PostgreSQL. The machine's own is used where its programs lie in the usual folder; else the newest
# that the distribution has is unpacked, without the compiler library that only `jit` needs (100 MB).
# Out: folder `postgres` in the cache, or nothing.

# postgres_on_machine: the folder of the newest installed server's programs.
postgres_on_machine() {
  machine_may_serve || return 1
  newest_postgres ''
}

# newest_postgres ROOT: the programs' folder of the newest PostgreSQL below ROOT.
newest_postgres() {
  local found
  found="$(find "$1/usr/lib/postgresql" -path '*/bin/initdb' -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)"
  [[ -x "$found/postgres" ]] && printf '%s' "$found"
}

install_postgres() {
  if postgres_on_machine >/dev/null; then return 0; fi
  apt_update
  local newest
  newest="$(package_names 'postgresql-[0-9]+' | tail -n 1)"
  local -a build=(unpack "$CACHE/postgres" 'postgresql-(client-)?[0-9]+|lib([^l]|l[^l]).*' "${newest:-postgresql}")
  once "$CACHE/postgres" "$(recipe "${build[@]:2}")" "${build[@]}"
}

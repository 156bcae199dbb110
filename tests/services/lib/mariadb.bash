# shellcheck shell=bash
# Finds or installs MariaDB: the machine's own server where there is one, else the distribution's newest, unpacked.
# Out: folder `mariadb` in the cache, or nothing.

# mariadb_on_machine: the folder under which bin, sbin and share of an installed server lie.
mariadb_on_machine() {
  machine_may_serve || return 1
  [[ -x /usr/sbin/mariadbd && -x /usr/bin/mariadb-install-db && -x /usr/bin/my_print_defaults ]] && printf /usr
}

install_mariadb() {
  if mariadb_on_machine >/dev/null; then return 0; fi
  apt_update
  local server client
  server="$(package_names 'mariadb-server-core(-[0-9.]+)?' | tail -n 1)"
  client="$(package_names 'mariadb-client-core(-[0-9.]+)?' | tail -n 1)"
  local -a build=(unpack "$CACHE/mariadb" '.*' "${server:-mariadb-server-core}" "${client:-mariadb-client-core}")
  once "$CACHE/mariadb" "$(recipe "${build[@]:2}")" "${build[@]}"
}

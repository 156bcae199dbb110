# shellcheck shell=bash
# Finds or installs Redis: the machine's own server where there is one, else the distribution's, unpacked.
# Out: folder `redis` in the cache, or nothing.

redis_on_machine() {
  machine_may_serve || return 1
  type -P redis-server
}

install_redis() {
  if redis_on_machine >/dev/null; then return 0; fi
  local -a build=(unpack "$CACHE/redis" '.*' redis-server)
  once "$CACHE/redis" "$(recipe "${build[@]:2}")" "${build[@]}"
}

# shellcheck shell=bash
# Installs the openssl command where the machine has none. Out: folder `openssl` in the cache, or nothing.

install_openssl() {
  local -a build=(unpack "$CACHE/openssl" 'openssl|libssl.*' openssl)
  if machine_may_serve && command -v openssl >/dev/null; then return 0; fi
  once "$CACHE/openssl" "$(recipe "${build[@]:2}")" "${build[@]}"
}

# openssl: the machine's, else the unpacked one.
openssl() {
  if machine_may_serve && type -P openssl >/dev/null; then
    command openssl "$@"
  else
    LD_LIBRARY_PATH="$(libraries "$CACHE/openssl/root")" OPENSSL_CONF=/dev/null "$CACHE/openssl/root/usr/bin/openssl" "$@"
  fi
}

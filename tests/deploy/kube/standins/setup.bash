# shellcheck shell=bash
# What the README's installation takes besides: images that stand for the ones on registries, under the names by which the README and the chart call them.
# Sourced by tests/deploy/kube/setup. Needs setup_podman, import_image, and ZooKeeper's jars of tests/services/setup.

readonly STANDINS="$here/standins"
readonly SERVICES_OF_DEBIAN=ca-certificates,default-jre-headless,postgresql,redis-server

# make_services: one Debian for all three. (`set -e` does not count below `step`.)
make_services() {
  local root="$KUBE/services/root" name
  rm -rf -- "$KUBE/services"
  mkdir -p -- "$KUBE/services"
  mmdebstrap --quiet --variant=minbase --include="$SERVICES_OF_DEBIAN" bookworm "$root" || return
  rm -rf -- "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/var/lib/postgresql"
  mkdir -p -- "$root/zookeeper/lib"
  for name in "${ZOOKEEPER_JARS[@]}"; do cp -L -- "$CACHE/zookeeper/root/usr/share/java/$name.jar" "$root/zookeeper/lib/" || return; done
  import_image "$root" localhost/services:test || return
  rm -rf -- "$root"
}

# build_standins: each image under its official name; Setkeeper's Superset under the README's.
build_standins() {
  local name
  for name in zookeeper:3.9 postgres:16 redis:7; do
    podman build --quiet --network none --target "${name%:*}" --tag "docker.io/library/$name" --file "$STANDINS/Dockerfile" "$STANDINS" || return
  done
  podman tag localhost/superset:6.1.0 registry.example/superset:6.1.0
}

setup_standins() {
  # shellcheck source=tests/services/lib/zookeeper.bash
  source "$ROOT/tests/services/lib/zookeeper.bash"
  [[ -f "$CACHE/zookeeper/stamp" ]] || fail 'ZooKeeper is not set up' 'run: tests/services/setup zookeeper'
  podman image exists localhost/services:test || rm -f -- "$KUBE/services/stamp"
  once "$KUBE/services" "$(recipe "$SERVICES_OF_DEBIAN" "$(declare -f make_services)")" \
    step "make images of ZooKeeper, PostgreSQL and Redis (two minutes)" make_services
  step 'build what stands for the images of registries' build_standins
}

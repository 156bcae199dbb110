# shellcheck shell=bash
# Podman with all that is its own below the cache: images, containers, settings. Sourced by who runs it. In: KUBE, the folder. Out: its environment.
# runc and cgroupfs because crun refuses machines with both generations of cgroups, and not every machine runs systemd.
mkdir -p -- "$KUBE/podman"
cat >"$KUBE/podman/containers.conf" <<SETTINGS
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "$KUBE/podman/networks"
SETTINGS
cat >"$KUBE/podman/storage.conf" <<SETTINGS
[storage]
driver = "overlay"
graphroot = "$KUBE/podman/storage"
runroot = "$KUBE/podman/run"
SETTINGS
export CONTAINERS_CONF="$KUBE/podman/containers.conf" CONTAINERS_STORAGE_CONF="$KUBE/podman/storage.conf"

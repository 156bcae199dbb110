# shellcheck shell=bash
# Debian packages without root: apt works in a state folder of its own, the packages are unpacked below the cache and
# nothing on the machine changes. In: names of packages. Out: a folder that looks like a file system's root.
# Maintainer scripts never run, so whatever they would prepare (a database folder, alternatives) is the caller's.

# Packages that are left out: the C library, because it must match the machine's own loader, and what only the
# maintainer scripts need.
readonly LEFT_OUT='libc6|libc-bin|libc-l10n|locales|gcc-[0-9]+-base|base-(files|passwd)|bash|dash|coreutils|dpkg|tar|gzip|sed|grep|mawk|gawk|findutils|adduser|passwd|login|debconf|cdebconf|sensible-utils|ucf|init-system-helpers|lsb-base|sysvinit-utils|procps|psmisc|lsof|rsync|iproute2|util-linux.*|mount|hostname|debianutils|diffutils|perl.*|libperl.*|lib.*-perl|java-common|ca-certificates.*|ssl-cert|netbase|tzdata|logsave|e2fsprogs|systemd.*|dbus.*|apt|libapt.*'

# apt TOOL ARGUMENTS...: apt-get or apt-cache over the machine's sources, with state in the cache. The list of installed
# packages is an empty one: the answer must not depend on what this machine happens to have.
apt() {
  local tool="$1" state="$CACHE/apt"
  shift
  LC_ALL=C "$tool" -q \
    -o Dir::State="$state/state" -o Dir::State::status="$state/installed" -o Dir::Cache="$state/cache" \
    -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
    -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o APT::Install-Recommends=0 "$@"
}

# apt_update: fetch the lists of packages once for all services; under a lock, since set-ups may run side by side.
apt_update() {
  command -v apt-get >/dev/null || fail 'failed to find apt-get' \
    'this set-up unpacks Debian packages; run it on Debian or Ubuntu, or install the service yourself'
  mkdir -p -- "$CACHE/apt/state/lists/partial" "$CACHE/apt/cache/archives/partial" "$CACHE/locks"
  : >>"$CACHE/apt/installed"
  (
    flock 8
    if [[ -z "${1:-}" && -n "$(find "$CACHE/apt/updated" -mtime -1 2>/dev/null)" ]]; then exit 0; fi
    step 'read the lists of Debian packages' apt apt-get update ||
      fail 'failed to read the lists of Debian packages' 'check the network and the sources in /etc/apt'
    : >"$CACHE/apt/updated"
  ) 8>"$CACHE/locks/apt"
}

# closure PACKAGE...: NAME=VERSION of the packages and all that they depend on, one a line.
closure() {
  apt apt-get --simulate install "$@" |
    sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' |
    grep -Ev "^($LEFT_OUT)(:[a-z0-9]+)?=" || true
}

# fetch FOLDER NAME=VERSION...: download into FOLDER; apt checks the signatures and digests.
fetch() { (cd -- "$1" && shift && apt apt-get download "$@"); }

# unpack FOLDER KEEP PACKAGE...: make FOLDER anew from the packages and those of their dependencies whose names match
# the extended regular expression KEEP. Everything happens in a folder beside it, which is renamed at the end.
unpack() {
  local folder="$1" keep="$2" draft
  shift 2
  apt_update
  draft="$folder.draft.$$"
  rm -rf -- "$folder".draft.*
  mkdir -p -- "$draft/packages" "$draft/root"
  local -a wanted
  choose "$keep" "$@"
  if ! step "fetch ${#wanted[@]} packages for ${folder##*/}" fetch "$draft/packages" "${wanted[@]}"; then
    apt_update again
    choose "$keep" "$@"
    step "fetch ${#wanted[@]} packages for ${folder##*/} again" fetch "$draft/packages" "${wanted[@]}" ||
      fail "failed to fetch packages for ${folder##*/}" 'check the network and the sources in /etc/apt'
  fi
  step "unpack ${folder##*/}" open_packages "$draft"
  rm -rf -- "$draft/packages" "$folder"
  mv -- "$draft" "$folder"
}

# choose KEEP PACKAGE...: set `wanted` of the caller, or fail saying which package the machine's sources do not have.
choose() {
  local keep="$1"
  shift
  mapfile -t wanted < <(closure "$@" | grep -E -- "^($keep)(:[a-z0-9]+)?=")
  ((${#wanted[@]})) || fail "failed to find the Debian packages: $*" \
    "look at: apt-cache policy $*; on Ubuntu the section universe may have to be enabled"
}

# open_packages DRAFT: unpack, then turn absolute links into relative ones, because the root is not the machine's.
open_packages() {
  local draft="$1" package link target
  for package in "$draft"/packages/*.deb; do dpkg -x "$package" "$draft/root" || return; done
  while IFS= read -r -d '' link; do
    target="$draft/root$(readlink -- "$link")"
    if [[ -e "$target" || -L "$target" ]]; then
      ln -sfnr -- "$target" "$link"
    fi
  done < <(find "$draft/root" -type l -lname '/*' -print0)
}

# package_names PATTERN: the packages that the sources offer and whose whole name matches, oldest version number first.
package_names() { apt apt-cache pkgnames | grep -Ex -- "$1" | sort -V; }

# shellcheck shell=bash
# Installs Superset of one version into a virtual environment, from the pins in superset-VERSION.txt, and makes a
# migrated SQLite metadata database with the user admin/admin once, so that a test's Superset starts from a copy.
# Out: `superset-VERSION` in the cache: venv/, template.db, python (the interpreter that it was made with).

readonly SUPERSET_DEFAULT=6.1.0

# pins VERSION: the file of pins. Its line `# python:` names the Pythons that all its packages have wheels for, the one
# it was measured with first; it also says which few packages are built from source, by pip's own options.
pins() { printf '%s' "$SERVICES/superset-$1.txt"; }
pythons() { sed -n 's/^# python: //p' "$(pins "$1")"; }

# interpreter COMMAND VERSIONS: the real path of COMMAND's interpreter if it is complete and one of VERSIONS.
interpreter() {
  "$1" -c 'import sys, ssl, sqlite3, ctypes, zlib, bz2, lzma, venv
assert "%d.%d" % sys.version_info[:2] in sys.argv[1].split() and sys.prefix == sys.base_prefix
print(sys.executable)' "$2" 2>/dev/null
}

# python_on_machine VERSIONS: the first fitting one.
python_on_machine() {
  machine_may_serve || return 1
  local version
  for version in $1 3; do
    if command -v "python$version" >/dev/null && interpreter "python$version" "$1"; then return 0; fi
  done
  return 1
}

# unpack_python VERSIONS: sets `python` and `libraries` of the caller to an interpreter from the distribution's packages.
unpack_python() {
  local version wanted='' root="$CACHE/python/root"
  apt_update
  for version in $1; do
    if [[ -z "$wanted" && -n "$(package_names "python$version")" ]]; then wanted="python$version"; fi
  done
  [[ -n "$wanted" ]] || fail "failed to find a Python ${1// / or }" \
    'neither this machine nor its packages have one: put a python3.11 on PATH (for example with pyenv or uv)'
  local -a build=(unpack "$CACHE/python" '.*' "$wanted")
  once "$CACHE/python" "$(recipe "${build[@]:2}")" "${build[@]}"
  python="$root/usr/bin/$wanted"
  libraries="$(libraries "$root")"
}

# make_venv FOLDER PYTHONS: a virtual environment with pip, whether or not the interpreter came with ensurepip.
make_venv() {
  local venv="$1/venv" python libraries='' wheel
  if ! python="$(python_on_machine "$2")"; then unpack_python "$2"; fi
  rm -rf -- "$1"
  mkdir -p -- "$1"
  export LD_LIBRARY_PATH="$libraries${libraries:+${LD_LIBRARY_PATH:+:}}${LD_LIBRARY_PATH:-}"
  if [[ -n "$libraries" ]]; then
    step "make ${1##*/}'s environment" "$python" -m venv --without-pip "$venv"
    wrap_python "$venv" "$python" "$libraries"
  elif "$python" -m ensurepip --version >/dev/null 2>&1; then
    step "make ${1##*/}'s environment" "$python" -m venv "$venv"
    return
  else
    step "make ${1##*/}'s environment" "$python" -m venv --without-pip "$venv"
  fi
  local -a build=(unpack "$CACHE/pip" '.*-whl' python3-pip-whl)
  once "$CACHE/pip" "$(recipe "${build[@]:2}")" "${build[@]}"
  wheel="$(printf '%s\n' "$CACHE"/pip/root/usr/share/python-wheels/pip-*.whl | tail -n 1)"
  step 'install pip' env PYTHONPATH="$wheel" "$venv/bin/python" -m pip install --no-index "$wheel"
}

# wrap_python VENV PYTHON LIBRARIES: an unpacked interpreter finds its shared libraries only by LD_LIBRARY_PATH. Others
# call the environment's python by its path, so that very path must set it; the name it is called by (exec -a) is
# what tells Python that it is in a virtual environment.
wrap_python() {
  local name
  for name in "$1"/bin/python*; do rm -- "$name"; done
  printf -v name 'LIBRARIES=%q PYTHON=%q' "$3" "$2"
  cat >"$1/bin/python" <<WRAPPER
#!/bin/bash
$name
export LD_LIBRARY_PATH="\$LIBRARIES\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec -a "\$0" "\$PYTHON" "\$@"
WRAPPER
  chmod +x "$1/bin/python"
  for name in python3 "${2##*/}"; do ln -s python "$1/bin/$name"; done
}

# install_pins VENV VERSION: pip, setuptools and wheel first: they build the source packages, without a fetched surprise.
install_pins() {
  local pip=("$1/bin/python" -m pip --disable-pip-version-check --no-input install) builders
  mapfile -t builders < <(grep -E '^(pip|setuptools|wheel)==' "$(pins "$2")")
  "${pip[@]}" --only-binary=:all: "${builders[@]}" &&
    "${pip[@]}" --no-build-isolation --requirement "$(pins "$2")" &&
    "$1/bin/python" -m pip check
}

# build_superset FOLDER VERSION. The environment is made in its final place, since its scripts hold that path; the stamp,
# written last, is what says that it is finished.
build_superset() {
  make_venv "$1" "$(pythons "$2")"
  step "install Superset $2 (900 MB, about a minute)" install_pins "$1/venv" "$2" ||
    fail "failed to install Superset $2" 'check the network and pip'"'"'s settings: pip config list'
  step "make Superset $2's metadata template (half a minute)" make_template "$1" "$2" ||
    fail "failed to make Superset $2's metadata template"
}

# make_template FOLDER VERSION: write-ahead logging lets several threads of Superset read while one writes.
make_template() {
  local home="$1/template"
  mkdir -p -- "$home" &&
    write_base "$home" 0 '' &&
    bootstrap "$1" "$home" &&
    "$1/venv/bin/python" -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode=WAL")' "$home/superset.db" &&
    mv -- "$home/superset.db" "$1/template.db" &&
    rm -rf -- "$home"
}

install_superset() {
  local version="${1:-$SUPERSET_DEFAULT}"
  [[ -f "$(pins "$version")" ]] || fail "no pins for Superset $version" \
    "there are pins for: $(cd "$SERVICES" && echo superset-*.txt | sed 's/superset-\([^ ]*\)\.txt/\1/g')"
  once "$CACHE/superset-$version" "$(recipe "$(<"$(pins "$version")")")" \
    build_superset "$CACHE/superset-$version" "$version"
}

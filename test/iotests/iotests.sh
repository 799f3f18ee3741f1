# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verb "iotests" of ./dev: the tests of QEMU's own suite that concern QED
# and need no virtual machine, with flatcow-img in qemu-img's place. The suite
# is not part of this project: it comes from the Debian source package.
# Read by ./dev, with what it has defined before.

readonly iotests_packages=(qemu-utils dpkg-dev patch xz-utils python3)

# iotests [--baseline] [TEST...]
iotests() {
  need "${build_packages[@]}" "${iotests_packages[@]}"
  CXX=g++ configure build
  compile build flatcow-img:executable
  local version suite
  version=$(dpkg-query -W -f='${source:Version}' qemu-utils)
  suite=$top/build-iotests/${version//[^a-zA-Z0-9.+-]/_}
  [[ -d $suite ]] || fetch_iotests "$version" "$suite"
  say "QEMU's tests, of version $version"
  python3 -B "$top/test/iotests/run.py" --jobs "$jobs" \
    --flatcow-img "$top/build/src/tool/flatcow-img" \
    --work "$top/build-iotests/work" "$@" "$suite"
}

# apt_sources DIRECTORY: apt-get's options for a state of its own there, in
# which the sources of all that this machine installs from can be had.
apt_sources() {
  local file
  mkdir -p "$1/parts" "$1/lists/partial" "$1/cache/archives/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $file in
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$file" ;;
      *.list) sed -E -n 's/^deb(-src)?[[:space:]]/deb-src /p' "$file" ;;
      *) continue ;;
    esac >"$1/parts/${file##*/}" 2>/dev/null || rm "$1/parts/${file##*/}"
  done
  apt_options=(-q -o Dir::Etc::sourcelist=/dev/null
    -o Dir::Etc::sourceparts="$1/parts" -o Dir::State::lists="$1/lists"
    -o Dir::Cache="$1/cache")
}

# fetch_iotests VERSION DIRECTORY: the suite as that version of Debian's has it.
# All is unpacked for it, because the package's patches change the suite too.
fetch_iotests() {
  local work=$2.new apt_options
  say "Fetching the source of QEMU $1"
  rm -rf "$work"
  mkdir -p "$work"
  apt_sources "$work/apt"
  apt-get "${apt_options[@]}" update ||
    echo "Not all lists could be read; trying with those that could."
  (cd "$work" && apt-get "${apt_options[@]}" source --download-only "qemu=$1")
  dpkg-source -q --no-check -x "$work"/*.dsc "$work/source"  # apt-get has checked
  mv "$work/source/tests/qemu-iotests" "$2"
  rm -rf "$work"
}

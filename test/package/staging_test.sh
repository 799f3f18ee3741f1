#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# staging_test.sh SOURCE BUILD COMPILER...: installs BUILD into an empty
# directory. All files of installed.txt are there and no others, the unit is in
# order, and a program can be built with what pkg-config says.
set -euo pipefail
readonly tree=$1 build=$2 cxx="${*:3}"
# shellcheck source=test/package/library.sh
. "$tree/test/package/library.sh"

stage=$(mktemp -d)
trap 'rm -r "$stage"' EXIT
step() { printf '%s: %s\n' "$SECONDS" "$*"; }

step "meson install"
meson install -C "$build" --no-rebuild --quiet --destdir "$stage"
prefix=$(meson introspect "$build" --buildoptions |
  python3 -c 'import json, sys
print(*(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')

step "the list of files"
diff -u "$tree/test/package/installed.txt" <(list_files "$stage$prefix")

step "the unit"
unit=$stage$prefix/lib/systemd/system/flatcow@.service
grep -q "^ExecStart=$prefix/bin/flatcow -f " "$unit"
if command -v systemd-analyze >/dev/null; then
  check_unit "$unit" "$stage$prefix/bin/flatcow"
else
  echo "not checked: systemd-analyze is not installed"
  [[ ${CI:-} != true ]]
fi

step "the headers"
# Nothing but the staged files: the tree's are not on any path.
pkg_config() { pkg-config --define-variable=prefix="$stage$prefix" "$@" flatcow; }
PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name flatcow.pc)")
export PKG_CONFIG_PATH
read -ra cflags < <(pkg_config --cflags)
read -ra libs < <(pkg_config --libs)
check_headers "$cxx" "$stage$prefix/include" "${cflags[@]}"

step "the example"
libraries=$(dirname "$(find "$stage$prefix" -name libflatcow.so)")
check_example "$cxx" "$libraries" "$stage$prefix/bin/flatcow-img" \
  "$tree/test/package/example.cc" "${cflags[@]}" "${libs[@]}"

step "README.md shows the example"
python3 - "$tree" <<'PYTHON'
import sys

def text(path):
    with open(sys.argv[1] + "/" + path) as file:
        return file.read()

example = text("test/package/example.cc").split("\n", 1)[1]
shown = "".join("    " + line if line.strip() else line
                for line in example.splitlines(keepends=True))
if shown not in text("README.md"):
    sys.exit("README.md, The library: this is missing:\n" + shown)
PYTHON
step "done"

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Is what was installed fit for use? For staging_test.sh and ./dev package.

readonly strict_flags=(-std=c++20 -Wall -Wextra -Werror)

# check_headers COMPILER DIRECTORY [FLAG...]: each header in DIRECTORY/flatcow
# compiles alone.
check_headers() {
  local compiler=$1 directory=$2 header
  for header in "$directory"/flatcow/*.h; do
    echo "#include <flatcow/${header##*/}>" |
      $compiler "${strict_flags[@]}" -fsyntax-only -x c++ "${@:3}" -
  done
}

# check_example COMPILER LIBRARY_DIRECTORY TOOL SOURCE [FLAG...]: the example
# compiles with the flags of pkg-config, and writes to an image.
check_example() {
  local compiler=$1 libraries=$2 tool=$3 source=$4 work
  work=$(mktemp -d)
  $compiler "${strict_flags[@]}" "$source" -o "$work/example" "${@:5}"
  (
    cd "$work" || return 1
    export LD_LIBRARY_PATH=$libraries
    "$tool" create -q -f qed disk.qed 1M
    ./example disk.qed
    "$tool" convert -O raw disk.qed disk.raw
    [[ $(tr -d '\0' <disk.raw) == $(printf 'x%.0s' {1..512}) ]]
    if ./example missing.qed 2>message; then return 1; fi
    grep -q 'missing.qed' message
  )
  rm -r "$work"
}

# check_unit UNIT PROGRAM: systemd has nothing to say about it. The program of a
# unit must exist, so PROGRAM takes its place.
check_unit() {
  local work said
  work=$(mktemp -d)
  sed "s,^ExecStart=[^ ]*,ExecStart=$2," "$1" >"$work/flatcow@.service"
  said=$(systemd-analyze verify --man=no "$work/flatcow@.service" 2>&1 |
    grep flatcow || true)
  rm -r "$work"
  [[ -z $said ]] || { echo "$said"; return 1; }
}

# list_files DIRECTORY: what was installed there, for any architecture. Without
# dpkg-dev Meson takes lib64 or lib for libraries.
list_files() {
  local libraries='/lib(64|/[a-z0-9_]+-linux-gnu[a-z0-9]*)?/(libflatcow|pkgconfig)'
  (cd "$1" && find . ! -type d) | cut -c 2- |
    sed -E "s,$libraries,/lib/TRIPLET/\\2," | LC_ALL=C sort
}

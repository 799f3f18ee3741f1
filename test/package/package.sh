# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# "./dev package": Debian packages of the last commit, looked at from outside.
# Read by ./dev, with what it has defined before.

# shellcheck source=test/package/library.sh
. "$top/test/package/library.sh"

readonly package_packages=("${build_packages[@]}" debhelper lintian systemd)

# The packages end in build-package/; nothing is written to the checkout.
package() {
  need "${package_packages[@]}"
  local place=$top/build-package
  rm -rf "$place"
  mkdir -p "$place/flatcow"
  git -C "$top" archive HEAD | tar -x -C "$place/flatcow"
  say "Building the packages of $(git -C "$top" describe --always)"
  (cd "$place/flatcow" &&
    DEB_BUILD_OPTIONS="parallel=$jobs ${DEB_BUILD_OPTIONS:-}" \
      dpkg-buildpackage -us -uc -b)
  say "lintian"
  (cd "$place" && lintian --allow-root --info --fail-on error,warning ./*.changes)
  say "What is in them"
  check_package_files "$place"
  say "The unit, and the example with the packages alone"
  check_package_example "$place"
  (cd "$place" && ls -l ./*.deb)
}

# Every file of each package, as test/package/debian.txt has them.
check_package_files() {
  local package name
  for package in "$1"/*_*.deb; do
    name=${package##*/}
    name=${name%%_*}
    mkdir -p "$1/root/$name"
    dpkg-deb -x "$package" "$1/root/$name"
    # Where units lie is a matter of the release.
    [[ $name == *-dbgsym ]] || list_files "$1/root/$name" |
      sed "s,^/lib/systemd,/usr/lib/systemd,; s/^/$name /"
  done | LC_ALL=C sort >"$1/files.txt"
  diff -u "$top/test/package/debian.txt" "$1/files.txt"
}

# As when all three are installed, but in a directory.
check_package_example() {
  local root=$1/all name flags
  mkdir "$root"
  for name in flatcow libflatcow0 libflatcow-dev; do
    cp -a "$1/root/$name/." "$root"
  done
  check_unit "$(find "$root" -name flatcow@.service)" "$root/usr/bin/flatcow"
  PKG_CONFIG_PATH=$(dirname "$(find "$root" -name flatcow.pc)")
  export PKG_CONFIG_PATH
  read -ra flags < <(pkg-config --define-variable=prefix="$root/usr" \
    --cflags --libs flatcow)
  check_example "${CXX:-g++}" "$(dirname "$PKG_CONFIG_PATH")" \
    "$root/usr/bin/flatcow-img" \
    "$root/usr/share/doc/libflatcow-dev/examples/example.cc" "${flags[@]}"
}

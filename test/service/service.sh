# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# "./dev service". Read by ./dev, with what it has defined before.

service() {
  need "${test_packages[@]}"
  ((EUID == 0)) || die "a systemd of one's own needs root"
  CXX=g++ configure build
  compile build flatcow:executable flatcow-img:executable
  say "A systemd of its own"
  "$top/test/service/boot.sh" "$top/build"
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verb "newcomer" of ./dev: do the README's commands work when they are
# pasted, one after the other, in a fresh clone?
# Read by ./dev, with what it has defined before.

# newcomer [--tests] [ROOT]: here, or in a fresh root such as debootstrap makes.
# What is not committed is not in the clone.
newcomer() {
  local options=() root='' place status=0
  if [[ ${1:-} == --tests ]]; then
    options=(--tests)
    shift
  fi
  if (($#)); then
    root=$(cd "$1" && pwd)
    ((EUID == 0)) || die "newcomer ROOT needs root"
  fi
  have git || need git
  mkdir -p "$root/var/tmp"
  place=$(mktemp -d "$root/var/tmp/flatcow-newcomer.XXXXXX")
  git clone -q "$top" "$place/flatcow"
  say "The README's commands, in $place"
  if [[ -n $root ]]; then
    in_root "$root" "${place#"$root"}/flatcow/test/newcomer/follow_readme" \
      "${options[@]}" || status=$?
  else
    "$place/flatcow/test/newcomer/follow_readme" "${options[@]}" || status=$?
  fi
  if ((status == 0)); then
    rm -r "$place"
  else
    say "Left behind: $place"
  fi
  return "$status"
}

# in_root ROOT COMMAND...: with mounts and processes of its own, which are gone
# when the command ends.
in_root() {
  # shellcheck disable=SC2016  # expanded by the shell inside
  unshare --mount --propagation private --pid --fork --kill-child bash -c '
    set -e
    root=$1
    shift
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    # What the first boot makes; fusermount3 reads it.
    [[ -L $root/etc/mtab || -e $root/etc/mtab ]] ||
      ln -s ../proc/self/mounts "$root/etc/mtab"
    mount --bind "$root" "$root"
    mount --bind /dev "$root/dev"
    mkdir -p "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mkdir -p "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    cd "$root"
    mkdir -p .outside
    pivot_root . .outside
    cd /
    umount -l /.outside
    rmdir /.outside
    exec env -i HOME=/root TERM=dumb LC_ALL=C.UTF-8 ${JOBS:+JOBS=$JOBS} \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
  ' in_root "$@"
}

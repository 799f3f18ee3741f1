#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# boot.sh BUILD: starts systemd as the first process of new namespaces, on a
# copy of / that is in memory, and lets it run inside.sh. Of the host, only a
# control group is there for the time of the test.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

# make_root BUILD: what the new systemd finds as its root, in ./root.
make_root() {
  local build=$1 root=$PWD/root name
  mkdir upper work root
  mount -t overlay none -o "lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work" root
  mount -t proc none "$root/proc"
  mount -t sysfs -o ro none "$root/sys"
  mount -t cgroup2 none "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 none "$root/dev"
  for name in null zero full random urandom tty fuse; do
    cp -a "/dev/$name" "$root/dev"
  done
  mkdir "$root/dev/shm"
  mount -t tmpfs -o mode=755 none "$root/run"
  mount -t tmpfs none "$root/tmp"
  # Nothing of the host's is to be started.
  rm -rf "$root"/{usr/lib,etc}/systemd/system/*.wants \
    "$root"/usr/lib/systemd/system-generators/*
  : >"$root/etc/fstab"
  mkdir -p "$root/etc/flatcow" "$root/run/systemd/system" "$root/run/out" "$root/old"
  mount --bind out "$root/run/out"
  cp "$build/fuse/flatcow" "$build/src/tool/flatcow-img" "$root/usr/local/bin"
  cp "$here/inside.sh" "$root/run"
  # Its log in a file: there is no journal.
  sed 's,^ExecStart=.*/bin/,ExecStart=/usr/local/bin/,
    /^ExecStart=/a StandardError=append:/run/out/daemon.log' \
    "$build/service/flatcow@.service" >"$root/run/systemd/system/flatcow@.service"
  printf '[Unit]\nDefaultDependencies=no\nWants=test.service\n' \
    >"$root/run/systemd/system/test.target"
  cat >"$root/run/systemd/system/test.service" <<'UNIT'
[Unit]
DefaultDependencies=no
SuccessAction=exit
FailureAction=exit
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/run/inside.sh >/run/out/log 2>&1; echo $? >/run/out/status'
UNIT
}

# In the new namespaces.
boot() {
  local out=$1 build=$2 place
  place=$out/place
  mkdir "$place"
  mount -t tmpfs none "$place"
  cd "$place"
  mkdir out
  mount --bind "$out" out
  make_root "$build"
  cd root
  pivot_root . old
  umount -l /old
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=test.target --show-status=no \
    --log-target=null
}

# A control group that may be the root of the new systemd's.
make_control_group() {
  local groups own
  groups=$(findmnt -n -f -t cgroup2 -o TARGET)
  own=$(sed -n 's/^0:://p' /proc/self/cgroup)
  control_group=$groups$own/flatcow-service-test.$$
  mkdir "$control_group"
}

main() {
  local out status=1
  out=$(mktemp -d)
  make_control_group
  (
    echo "$BASHPID" >"$control_group/cgroup.procs"
    exec timeout --signal=KILL 120 unshare --fork --kill-child --pid --mount --cgroup --uts \
      --ipc --propagation private "${BASH_SOURCE[0]}" --boot "$out" "$1"
  ) </dev/null || true
  cat "$out/log" 2>/dev/null || echo "systemd did not come up"
  [[ ! -e $out/status ]] || status=$(<"$out/status")
  if ((status != 0)); then cat "$out/daemon.log" 2>/dev/null || true; fi
  find "$control_group" -depth -type d -exec rmdir {} +
  rm -r "$out"
  return "$status"
}

if [[ $1 == --boot ]]; then
  boot "${@:2}"
else
  main "$@"
fi

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Run by a systemd that has just come up (boot.sh): what flatcow@.service(8)
# promises, step by step.
set -euo pipefail
export PATH=/usr/local/bin:$PATH
readonly unit=flatcow@vms.service view=/srv/disks/vm1.qed.raw

fail() { echo "FAILED: $*"; systemctl status --no-pager "$unit" || true; exit 1; }
property() { systemctl show -p "$1" --value "$unit"; }

# expect PROPERTY PATTERN: within ten seconds.
expect() {
  local i
  for ((i = 0; i < 100; ++i)); do
    # shellcheck disable=SC2053
    [[ $(property "$1") == $2 ]] && return 0
    sleep 0.1
  done
  fail "$1 is $(property "$1"), not $2"
}

# Another file for the drop-in of the unit; empty: none.
drop_in() {
  mkdir -p "/run/systemd/system/$unit.d"
  printf '[Service]\n%s\n' "$1" >"/run/systemd/system/$unit.d/test.conf"
  systemctl daemon-reload
}

step() { echo "- $*"; }

mkdir -p /srv/overlays
truncate -s 8M /srv/overlays/base
flatcow-img create -q -f qed -b base -F raw /srv/overlays/vm1.qed
printf 'SOURCE=/srv/overlays\nMOUNTPOINT=/srv/disks\n' >/etc/flatcow/vms.conf

step "started means that everybody sees the views"
systemctl start "$unit"
[[ -f $view ]] || fail "no view"
nsenter --target 1 --mount ls "$view" >/dev/null
expect StatusText 'serving /srv/overlays at /srv/disks'
echo data | dd of="$view" conv=notrunc,fsync status=none
fallocate --punch-hole --offset 65536 --length 65536 "$view"

step "a stop without users is quick and clean"
systemctl stop "$unit"
expect ActiveState inactive
expect Result success
[[ ! -e $view ]] || fail "still mounted"

step "an unmount from outside is no failure"
systemctl start "$unit"
umount /srv/disks
expect ActiveState inactive
expect Result success

step "a daemon that was killed is replaced, with its mount"
systemctl start "$unit"
kill -9 "$(property MainPID)"
expect NRestarts 1
expect ActiveState active
[[ -f $view ]] || fail "no view"

step "a stop waits for a user, names it, and serves it"
exec 7<>"$view"
systemctl stop --no-block "$unit"
expect StatusText "detached; waiting for *pid $$*$view*"
expect SubState stop-sigterm
[[ ! -e $view ]] || fail "still mounted"
echo served >&7
sync -d /dev/fd/7
exec 7>&-
expect ActiveState inactive
expect Result success

step "systemctl kill ends the wait"
systemctl start "$unit"
exec 7<>"$view"
systemctl stop --no-block "$unit"
expect SubState stop-sigterm
expect StatusText "detached*"
systemctl kill "$unit"
expect ActiveState inactive
exec 7>&-

step "so does a time limit, and nothing is lost"
drop_in TimeoutStopSec=1
systemctl start "$unit"
exec 7<>"$view"
printf unsynced | dd bs=1 seek=1048576 status=none >&7
systemctl stop "$unit"
expect Result timeout
expect ExecMainStatus 0
exec 7>&-
systemctl reset-failed "$unit"
drop_in ""
systemctl start "$unit"
[[ $(dd if="$view" bs=1 skip=1048576 count=8 status=none) == unsynced ]] ||
  fail "lost what was written"
systemctl stop "$unit"

step "wrong options are not tried again"
echo OPTIONS=bogus >>/etc/flatcow/vms.conf
if systemctl start "$unit" 2>/dev/null; then fail "started"; fi
expect ActiveState failed
expect NRestarts 0
systemctl reset-failed "$unit"

step "blanks and commas, a helper beside the daemon, other users"
mkdir "/srv/a b, c"
cp /srv/overlays/* "/srv/a b, c"
cat >/etc/flatcow/vms.conf <<'CONF'
SOURCE=/srv/a b, c
MOUNTPOINT=/srv/disks
OPTIONS="ro,allow_other,auto_unmount,allow=/srv/a b\, c"
CONF
systemctl start "$unit"
setpriv --reuid=65534 --regid=65534 --clear-groups cat "$view" >/dev/null
systemctl stop "$unit"
expect Result success
sed -i '/OPTIONS/d' /etc/flatcow/vms.conf

step "what the manual page warns of hides the mount"
for line in ProtectSystem=yes ProtectHome=yes PrivateTmp=yes ProcSubset=pid \
  ProtectProc=invisible ProtectKernelTunables=yes ProtectKernelModules=yes \
  ProtectKernelLogs=yes ProtectControlGroups=yes ReadOnlyPaths=/usr \
  PrivateIPC=yes PrivateMounts=yes; do
  drop_in "$line"
  systemctl start "$unit"
  [[ ! -e $view ]] || echo "  not so for $line"
  systemctl stop "$unit"
done
drop_in ""

step "a plain user has a service without the lines that are for root"
chmod 0666 /dev/fuse
mkdir /srv/mine /srv/my-disks
flatcow-img create -q -f qed /srv/mine/vm1.qed 1M
chown -R nobody /srv/mine /srv/my-disks
cat >/run/systemd/system/mine.service <<'UNIT'
[Service]
Type=notify
User=nobody
ExecStart=/usr/local/bin/flatcow -f /srv/mine /srv/my-disks
KillMode=mixed
FinalKillSignal=SIGTERM
TimeoutStopSec=infinity
UNIT
systemctl daemon-reload
systemctl start mine.service
setpriv --reuid=nobody --regid=nogroup --clear-groups cat /srv/my-disks/vm1.qed.raw >/dev/null
systemctl stop mine.service
[[ $(systemctl show -p Result --value mine.service) == success ]] ||
  fail "a plain user's service"
if mountpoint -q /srv/my-disks; then fail "still mounted"; fi
printf 'SOURCE=/srv/mine\nMOUNTPOINT=/srv/my-disks\n' >/etc/flatcow/vms.conf
drop_in $'User=nobody\nRestart=no'
if systemctl start "$unit" 2>/dev/null; then fail "User= goes with the unit"; fi
systemctl reset-failed "$unit"
drop_in ""

step "a mount unit, as it is made from fstab"
mkdir -p /srv/plain
cat >/run/systemd/system/srv-plain.mount <<'UNIT'
[Mount]
What=/srv/overlays
Where=/srv/plain
Type=fuse.flatcow
Options=rw,nofail,_netdev,x-systemd.automount,x-systemd.requires=a.service
UNIT
systemctl daemon-reload
systemctl start srv-plain.mount
[[ -f /srv/plain/vm1.qed.raw ]] || fail "no view"
systemctl stop srv-plain.mount
[[ ! -e /srv/plain/vm1.qed.raw ]] || fail "still mounted"

echo "the unit does what its page says"

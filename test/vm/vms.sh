# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verb "vms" of ./dev: virtual machines whose disks are views, and the
# recipes of flatcow-recipes(7).
# Read by ./dev, with what it has defined before.

readonly vm_packages=("${run_packages[@]}" qemu-system-x86 qemu-utils
  busybox-static fdisk python3 rsync restic)
readonly vm_kernel=linux-image-cloud-amd64

# vms [--short]
vms() {
  [[ -z ${1:-} || $1 == --short ]] || die "not an option of vms: $1"
  [[ $(dpkg --print-architecture) == amd64 ]] || skip_vms "this is not amd64"
  [[ -c /dev/fuse ]] || skip_vms "there is no /dev/fuse"
  need "${build_packages[@]}" "${vm_packages[@]}"
  CXX=g++ configure build
  compile build flatcow:executable flatcow-img:executable
  local kernel programs
  kernel=$(guest_kernel) || skip_vms "there is no package $vm_kernel to be had"
  programs=(--flatcow "$top/build/fuse/flatcow"
    --flatcow-img "$top/build/src/tool/flatcow-img")
  export PATH=$PATH:/usr/sbin:/sbin
  say "Virtual machines on views, and recipes at the same time"
  local recipes status=0
  recipes=$(mktemp)
  python3 -B "$top/test/vm/recipes.py" "${programs[@]}" \
    "$top/man/flatcow-recipes.7" >"$recipes" 2>&1 &
  python3 -B "$top/test/vm/run.py" "${programs[@]}" "$@" "$kernel" || status=1
  wait $! || status=1
  cat "$recipes"
  rm "$recipes"
  return "$status"
}

skip_vms() {
  ! in_ci || die "$1"
  echo "skipped: $1"
  exit 77
}

# Prints where the kernel of a guest is unpacked. It is not installed.
guest_kernel() {
  local package directory
  package=$(kernel_package)
  if [[ -z $package ]]; then
    as_root apt-get update >&2 </dev/null
    package=$(kernel_package)
  fi
  directory=$top/build-vm/$package
  if [[ ! -d $directory ]]; then
    [[ -n $package ]] || return 1
    rm -rf "$directory.new"
    mkdir -p "$directory.new"
    fetch_package "$package" "$directory.new" >&2 || return 1
    mv "$directory.new" "$directory"
  fi
  echo "$directory"
}

# The one that there is of $vm_kernel, if apt-get knows of any.
kernel_package() {
  apt-cache depends "$vm_kernel" 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1
}

# fetch_package PACKAGE DIRECTORY: unpacks it there. The lists may be old.
fetch_package() {
  say "Fetching $1"
  (cd "$2" && apt-get download "$1") || {
    as_root apt-get update </dev/null
    (cd "$2" && apt-get download "$1")
  } || return 1
  dpkg-deb -x "$2"/*.deb "$2" && rm "$2"/*.deb
}

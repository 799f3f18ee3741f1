# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verb "differential" of ./dev: the long form of the test
# "qcow2_differential", with the installed QEMU or Debian's newest.
# Read by ./dev, with what it has defined before.

# differential [--newest] [IMAGES]: so many that are read, and as many that are
# written.
differential() {
  local newest=
  if [[ ${1:-} == --newest ]]; then
    newest=yes
    shift
  fi
  local images=${1:-1000}
  [[ $images =~ ^[1-9][0-9]*$ ]] || die "not a number of images: $images"
  need "${build_packages[@]}" qemu-utils
  CXX=g++ configure build
  compile build qcow2_differential_test
  if [[ -n $newest ]]; then
    make_newest_qemu
    PATH=$top/build-qemu/bin:$PATH compare_images "$images"
  else
    compare_images "$images"
  fi
}

# Each process does its share. Ends with one line of counts.
compare_images() {
  say "$1 images read and $1 written, beside $(qemu-img --version | head -n 1)"
  local shard status=0 logs pids=()
  logs=$(mktemp -d)
  for ((shard = 0; shard < jobs; ++shard)); do
    FLATCOW_DIFFERENTIAL_IMAGES=$1 \
      GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$shard \
      "$top/build/test/qcow2_differential_test" --gtest_brief=1 \
      >"$logs/$shard" 2>&1 &
    pids+=($!)
  done
  for shard in "${!pids[@]}"; do
    wait "${pids[shard]}" || status=1
  done
  sum_of_features "$logs"/*
  rm -r "$logs"
  return "$status"
}

# Shows what failed, and adds up what the images had.
sum_of_features() {
  python3 - "$@" <<'PYTHON'
import collections, re, sys

images = collections.Counter()
features = collections.defaultdict(collections.Counter)
differ = 0
for path in sys.argv[1:]:
    what = ""
    for line in open(path, errors="replace"):
        if count := re.fullmatch(r"(read|written): (\d+) images\n", line):
            what = count[1]
            images[what] += int(count[2])
        elif what and (row := re.fullmatch(r"  (\w+):((?: \S+ \d+)+)\n", line)):
            words = row[2].split()
            for value, number in zip(words[::2], words[1::2]):
                features[what, row[1]][value] += int(number)
        elif not line.startswith(("Running main", "Note: ", "[=====", "[  PASSED")):
            differ += bool(re.match(r"\[  FAILED  \] .*, where .* ms\)", line))
            print(line, end="")
for (what, name), counts in sorted(features.items()):
    print(what, name + ":", ", ".join("%s %d" % c for c in sorted(counts.items())))
print("differential: %d images read, %d written, %d differ" %
      (images["read"], images["written"], differ))
PYTHON
}

# Programs of QEMU in build-qemu/bin, of Debian's newest suite. They run in this
# system, with the loader and the libraries of their own.
make_newest_qemu() {
  local root=$top/build-qemu/root bin=$top/build-qemu/bin program
  [[ -x $root/usr/bin/qemu-img ]] || fetch_newest_qemu "$root"
  local loaders=("$root"/lib*/ld-linux-*.so.*)
  local libraries=("$root"/usr/lib/*-linux-gnu*)
  rm -rf "$bin"
  mkdir "$bin"
  for program in qemu-img qemu-io; do
    cat >"$bin/$program" <<TEXT
#!/bin/sh
exec "${loaders[0]}" --library-path "${libraries[0]}" \\
  "$root/usr/bin/$program" "\$@"
TEXT
    chmod +x "$bin/$program"
  done
}

# From where this system gets its own packages.
fetch_newest_qemu() {
  need debootstrap
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
    'Origin: Debian' 'Label: Debian' | head -n 1)
  [[ -n $mirror ]] ||
    die "no lists of Debian's packages here; try: apt-get update"
  say "Fetching the newest QEMU"
  as_root rm -rf "$1"
  mkdir -p "$(dirname "$1")"
  as_root debootstrap --variant=minbase --include=qemu-utils unstable "$1" \
    "$mirror"
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verb "bench" of ./dev: what the views cost, measured from outside.
# Read by ./dev, with what it has defined before.

readonly bench_packages=(python3 fio qemu-utils qemu-system-common libnbd-bin
  xfsprogs)

# bench [compare|scaling|views|pages|soak|profile|limits|tool|compressed...]
# [OPTION...]; "bench --help" names them.
bench() {
  need "${build_packages[@]}" "${run_packages[@]}" "${bench_packages[@]}"
  [[ " $* " != *" profile "* ]] || have perf || need linux-perf
  build gcc >&2
  if [[ " $* " == *" counting "* ]]; then
    need libbenchmark-dev >&2
    CXX=g++ configure build -Dbenchmarks=true >&2
    compile build counting_benchmark >&2
    set -- "$@" --program "$top/build/bench/counting_benchmark"
  fi
  PATH=$top/build/fuse:$top/build/src/tool:$PATH:/usr/sbin:/sbin \
    python3 -B "$top/bench/run.py" "$@"
}

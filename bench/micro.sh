# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verbs of ./dev that measure parts of the library by themselves.
# Read by ./dev, with what it has defined before.

# instructions [--update]: what bench/instructions.py says.
instructions() {
  need "${build_packages[@]}" valgrind
  CXX=g++ configure build
  compile build instruction_paths
  say "Counting instructions"
  JOBS=$jobs python3 -B "$top/bench/instructions.py" \
    "$top/build/bench/instruction_paths" \
    "$top/bench/instruction_budget.json" "$@"
}

# microbench [ARGUMENT OF GOOGLE BENCHMARK...]
microbench() {
  need "${build_packages[@]}" libbenchmark-dev
  CXX=g++ configure build -Dbenchmarks=true
  local source name programs=()
  for source in "$top"/bench/*_benchmark.cc; do
    programs+=("$(basename "$source" .cc)")
  done
  compile build "${programs[@]}"
  for name in "${programs[@]}"; do
    say "$name"
    "$top/build/bench/$name" "$@"
  done
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The verbs of ./dev that try to break what is on disk, for long; CI runs their
# short forms. Each ends with one line of counts, which README.md quotes.
# Read by ./dev, with what it has defined before.

# The long form of test/crash, in as many processes as there are jobs.
crash() {
  need "${build_packages[@]}"
  CXX=g++ configure build
  compile build crash_test
  say "Crash exploration, long form"
  local shard status=0 logs pids=()
  logs=$(mktemp -d)
  for ((shard = 0; shard < jobs; ++shard)); do
    FLATCOW_CRASH_LONG=1 GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$shard \
      "$top/build/test/crash_test" >"$logs/$shard" 2>&1 &
    pids+=($!)
  done
  for shard in "${!pids[@]}"; do
    wait "${pids[shard]}" || status=1
    grep -v '^crash states: ' "$logs/$shard" || true
  done
  awk '/^crash states: / { states += $3; violations += $5 }
    END { printf "crash states: %d explored, %d violations\n",
          states, violations }' "$logs"/*
  rm -r "$logs"
  return "$status"
}

# The long form of the test "fault".
fault() {
  need "${build_packages[@]}"
  CXX=g++ configure build
  compile build fault_test
  FLATCOW_FAULT_LONG=1 "$top/build/test/fault_test" --gtest_brief=1 "$@"
}

# Fuzzing

readonly fuzz_targets=(qed_header addcow_header qcow2_header decompress
  tables image_operations daemon_options tool_options)
# What one input may cost.
readonly fuzz_limits=(-timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=256
  -max_len=1024 -len_control=0 -entropic=0)

# fuzz [TARGET] [SECONDS]: new inputs go to build-fuzz/corpus and are taken up
# by the next run; inputs that a target fails on go to build-fuzz/findings.
fuzz() {
  local targets=("${fuzz_targets[@]}") target
  if [[ -n ${1:-} && $1 != *[!a-z_]* ]]; then
    [[ " ${fuzz_targets[*]} " == *" $1 "* ]] ||
      die "no such target: $1; there are: ${fuzz_targets[*]}"
    targets=("$1")
    shift
  fi
  local seconds=${1:-60}
  [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "not a number of seconds: $seconds"
  need "${build_packages[@]}" clang libclang-rt-dev llvm
  CXX=clang++ configure build-fuzz -Db_sanitize=address,undefined \
    -Db_lundef=false -Ddebug=false -Dcpp_args=-gline-tables-only -Dfuzzers=true
  compile build-fuzz "${targets[@]/#/fuzz_}"
  say "Fuzzing ${targets[*]}, $seconds s each"
  mkdir -p "$top/build-fuzz/findings"
  rm -f "$top"/build-fuzz/fuzz-*.log
  for target in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
    fuzz_target "$target" "$seconds" &
  done
  wait
  count_fuzzing "${targets[@]}"
}

fuzz_target() {
  local directory=$top/build-fuzz new=$top/build-fuzz/corpus/$1 status=0
  mkdir -p "$new"
  ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
    "$directory/test/fuzz/fuzz_$1" "${fuzz_limits[@]}" \
    -max_total_time="$2" -print_final_stats=1 \
    -artifact_prefix="$directory/findings/$1-" "$new" \
    "$top/test/fuzz/corpus/$1" </dev/null >"$directory/fuzz-$1.log" 2>&1 ||
    status=$?
  echo "$status" >"$directory/fuzz-$1.status"
}

# Shows what was found and how to see it again, and ends with the line
# "fuzzing: N executions, M findings".
count_fuzzing() {
  local target log count executions=0 findings=0
  for target in "$@"; do
    log=$top/build-fuzz/fuzz-$target.log
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    printf '%s: %s executions\n' "$target" "${count:-0}"
    ((executions += ${count:-0})) || true
    if (($(<"$top/build-fuzz/fuzz-$target.status") != 0)); then
      ((findings += 1))
      show_finding "$target" "$log"
    fi
  done
  printf 'fuzzing: %d executions, %d findings\n' "$executions" "$findings"
  ((findings == 0 && executions != 0))
}

show_finding() {
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$2" | tail -n 1)
  printf '\n%s failed; the end of %s:\n' "$1" "$2"
  grep -vE '^(#[0-9]+[[:space:]]+(NEW|REDUCE|pulse)|stat::)' "$2" | tail -n 40
  [[ -z $input ]] ||
    printf '\nThe input: %s\nTo see it again: %s %s\n\n' "$input" \
      "UBSAN_OPTIONS=halt_on_error=1 $top/build-fuzz/test/fuzz/fuzz_$1" "$input"
}

# The long form of the test "mount_kill".
kill_daemon() {
  need "${test_packages[@]}"
  CXX=g++ configure build
  compile build mount_kill_test flatcow:executable flatcow-img:executable
  FLATCOW_BINARY=$top/build/fuse/flatcow \
    FLATCOW_IMG_BINARY=$top/build/src/tool/flatcow-img \
    FLATCOW_KILL_ROUNDS=${FLATCOW_KILL_ROUNDS:-500} \
    "$top/build/test/mount_kill_test"
}

# mutate [MUTANT...]
mutate() {
  need "${test_packages[@]}"
  python3 -B "$top/test/mutation/run.py" "$top" "$top/build-mutation" "$@"
}

# Clang's count of the branches in the source, not GCC's of those in the code.
coverage() {
  need "${test_packages[@]}" clang libclang-rt-dev llvm
  local directory=$top/build-coverage
  CXX=clang++ configure build-coverage \
    -Dcpp_args='-fprofile-instr-generate -fcoverage-mapping' \
    -Dcpp_link_args=-fprofile-instr-generate
  say "Building what is needed in build-coverage, and testing"
  rm -rf "$directory/profiles"
  LLVM_PROFILE_FILE=$directory/profiles/%p.profraw \
    run_tests build-coverage --suite library --no-suite unsanitized
  llvm-profdata merge -sparse -o "$directory/profile" "$directory"/profiles/*
  local program objects=()
  for program in "$directory"/test/*_test; do
    objects+=(-object "$program")
  done
  llvm-cov report -show-branch-summary -show-region-summary=false \
    -instr-profile "$directory/profile" "${objects[@]:1}" |
    awk '$1 ~ /(^|\/)src\/(format|image)\// {
           print; branches += $(NF-2); missed += $(NF-1)
         }
         END {
           printf "branches of src/format and src/image: %d, %d not reached, " \
                  "%.1f %% covered\n",
                  branches, missed, 100 - 100 * missed / branches
         }'
}

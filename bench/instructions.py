#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Do the hot paths take more instructions than they are allowed to?

    instructions.py PROGRAM BUDGET [--update]

Runs each path of PROGRAM (instruction_paths) under callgrind and compares the
instructions of one operation with the file BUDGET. The time of a run says
little on a machine that others use too; the count is the same in every run.

Exit status: 0 all within their budget; 1 one takes 10 % more, or the file names
other paths; 77 skipped, because the file is about another compiler (with
CI=true that is a failure). --update writes what was counted to BUDGET.

What callgrind wrote is kept beside PROGRAM: "callgrind_annotate FILE" says
which functions the instructions were in.
"""

import argparse
import concurrent.futures
import json
import os
import platform
import re
import subprocess
import sys

ALLOWED = 1.10  # of the budget
LOOSE = 0.80  # below this the budget is too high to guard anything
SKIPPED = 77

# The C library chooses its memcpy and the like by what the processor can do:
# these are what every x86-64 has.
PLAIN_PROCESSOR = "glibc.cpu.hwcaps=" + ",".join(
    "-" + feature for feature in (
        "AVX_Fast_Unaligned_Load", "AVX2", "AVX512F", "AVX512VL", "BMI2",
        "ERMS", "FSRM", "SSSE3", "SSE4_1", "SSE4_2", "RTM"))


def ask(program, *arguments):
    done = subprocess.run([program, *arguments], check=True,
                          stdout=subprocess.PIPE)
    return done.stdout.decode().splitlines()


def count(program, path):
    """Instructions of one operation."""
    name = re.sub(r"\W+", "-", path)
    output = "%s.%s.callgrind" % (program, name)
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--toggle-collect=CountedOperation*",
         "--callgrind-out-file=" + output, program, path],
        # Nothing of the caller's environment decides anything.
        env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": PLAIN_PROCESSOR},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    if done.returncode:
        sys.exit("%s: %s" % (path, done.stderr.decode(errors="replace")))
    with open(output, encoding="utf-8") as profile:
        totals = [int(line.split()[1]) for line in profile
                  if line.startswith("totals:")]
    if not totals or not totals[0]:
        sys.exit("%s: callgrind has not seen CountedOperation()" % path)
    return round(totals[0] / int(done.stdout))


def count_all(program):
    paths = ask(program)
    jobs = int(os.environ.get("JOBS") or os.cpu_count())
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        counts = pool.map(lambda path: count(program, path), paths)
        return dict(zip(paths, counts))


def verdict(counted, budget):
    if budget is None:
        return "no budget"
    if counted is None:
        return "no such path"
    if counted > budget * ALLOWED:
        return "TOO MANY"
    if counted < budget * LOOSE:
        return "the budget can be lowered"
    return ""


def compare(counted, budget):
    """Prints the table. Returns how many paths fail."""
    failures = 0
    print("%-34s %9s %9s" % ("instructions of one operation", "counted",
                             "budget"))
    for path in [*counted, *(p for p in budget if p not in counted)]:
        mine, limit = counted.get(path), budget.get(path)
        said = verdict(mine, limit)
        change = ("%+6.1f %%" % (100.0 * (mine - limit) / limit)
                  if mine is not None and limit else "")
        print(("%-34s %9s %9s  %s  %s" % (
            path, "-" if mine is None else mine,
            "-" if limit is None else limit, change, said)).rstrip())
        failures += said in ("TOO MANY", "no budget", "no such path")
    return failures


def main():
    parser = argparse.ArgumentParser(
        description="Instructions of the hot paths, compared with a budget.")
    parser.add_argument("program")
    parser.add_argument("budget")
    parser.add_argument("--update", action="store_true",
                        help="make what is counted the budget")
    options = parser.parse_args()

    built_with = {"compiler": ask(options.program, "--compiler")[0],
                  "processor": platform.machine()}
    if options.update:
        counted = count_all(options.program)
        with open(options.budget, "w", encoding="utf-8") as file:
            json.dump({**built_with, "instructions": counted}, file, indent=2)
            file.write("\n")
        compare(counted, counted)
        return 0

    with open(options.budget, encoding="utf-8") as file:
        budget = json.load(file)
    for key, value in built_with.items():
        if value != budget[key]:
            in_ci = os.environ.get("CI") == "true"
            print("%s: the %s is %s, and the budget is for %s" % (
                "failed" if in_ci else "skipped", key, value, budget[key]))
            return 1 if in_ci else SKIPPED
    failures = compare(count_all(options.program), budget["instructions"])
    print("paths: %d, over their budget or without one: %d" % (
        len(budget["instructions"]), failures))
    if failures:
        print("What the instructions are in: callgrind_annotate %s.*.callgrind"
              % os.path.relpath(options.program))
        print('When they are worth it: "./dev instructions --update"')
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mutation check: does the suite notice faults that were made on purpose?

    run.py SOURCE WORK_DIRECTORY [MUTANT...]

Each mutant (mutants.py) is one small fault in a copy of the source. The copy is
rebuilt and the test programs are run, those first that should notice, until one
fails or hangs. Ends with "mutants: N, caught C, survived S"; the exit status is
0 when all were caught.
"""

import os
import re
import subprocess
import sys
import time

from mutants import MUTANTS, PROGRAMS

LEAST_TIMEOUT = 60  # seconds


def run(command, **options):
    return subprocess.run(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)


def write_if_new(path, content):
    if os.path.exists(path):
        with open(path, "rb") as old:
            if old.read() == content:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as new:
        new.write(content)


class Tree:
    """The copy and its build directory."""

    def __init__(self, source, work):
        self.source = source
        self.tree = os.path.join(work, "tree")
        self.build = os.path.join(work, "build")
        self.seconds = {}  # a program's time without a fault

    def copy(self):
        listed = subprocess.check_output(
            ["git", "-C", self.source, "ls-files", "-z", "--cached",
             "--others", "--exclude-standard"])
        for name in listed.decode().split("\0"):
            path = os.path.join(self.source, name)
            if name and os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    write_if_new(os.path.join(self.tree, name), file.read())

    def configure(self):
        if not os.path.exists(os.path.join(self.build, "build.ninja")):
            subprocess.check_call(
                ["meson", "setup", "-Doptimization=1", "-Ddebug=false",
                 self.build, self.tree])
        # The targets may have changed.
        subprocess.check_call(["ninja", "-C", self.build, "build.ninja"])

    def compile(self, program):
        """None, or the compiler's output."""
        jobs = os.environ.get("JOBS", str(os.cpu_count()))
        done = run(["ninja", "-C", self.build, "-j", jobs,
                    "test/%s_test" % program])
        return done.stdout.decode(errors="replace") if done.returncode else None

    def failure(self, program):
        """None, or how it failed."""
        limit = max(LEAST_TIMEOUT, 5 * self.seconds.get(program, 600))
        start = time.monotonic()
        environment = dict(os.environ, GTEST_FAIL_FAST="1")
        try:
            done = run([os.path.join(self.build, "test", program + "_test")],
                       timeout=limit, env=environment, cwd=self.build)
        except subprocess.TimeoutExpired:
            return "hangs"
        self.seconds.setdefault(program, time.monotonic() - start)
        if done.returncode == 0:
            return None
        failed = re.search(rb"\[  FAILED  \] (\S+?)[, ]", done.stdout)
        return failed.group(1).decode() if failed else "crashes"


def available_programs(tree):
    targets = run(["ninja", "-C", tree.build, "-t", "targets", "all"])
    names = targets.stdout.decode().splitlines()
    return [p for p in PROGRAMS
            if any(n.startswith("test/%s_test:" % p) for n in names)]


def try_mutant(tree, programs, mutant):
    """Who caught it and how; None: it survived."""
    path = os.path.join(tree.tree, mutant.file)
    with open(path, encoding="utf-8") as file:
        original = file.read()
    changed = original
    for old, new in mutant.edits:
        if changed.count(old) != 1:
            raise LookupError("no longer applies: %d places with %r" %
                              (changed.count(old), old))
        changed = changed.replace(old, new)
    first = [p for p in mutant.tests if p in programs]
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(changed)
        for program in first + [p for p in programs if p not in first]:
            problem = tree.compile(program)
            if problem is not None:
                raise LookupError("does not compile:\n" + problem)
            failure = tree.failure(program)
            if failure is not None:
                return "%s: %s" % (program, failure)
        return None
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.write(original)


def check_baseline(tree, programs):
    for program in programs:
        problem = tree.compile(program)
        if problem is not None:
            sys.exit(problem)
        failure = tree.failure(program)
        if failure is not None:
            sys.exit("without a fault, %s: %s" % (program, failure))


def main():
    source, work = map(os.path.abspath, sys.argv[1:3])
    wanted = sys.argv[3:]
    mutants = [m for m in MUTANTS if not wanted or m.name in wanted]
    tree = Tree(source, work)
    tree.copy()
    tree.configure()
    programs = available_programs(tree)
    check_baseline(tree, programs)
    caught, survived, broken = 0, 0, 0
    for mutant in mutants:
        start = time.monotonic()
        try:
            catch = try_mutant(tree, programs, mutant)
        except LookupError as error:
            broken += 1
            print("BROKEN: %s: %s" % (mutant.name, error), flush=True)
            continue
        if catch is None:
            survived += 1
            verdict = "SURVIVED"
        else:
            caught += 1
            verdict = "caught by " + catch
        print("%s: %s (%d s)" % (mutant.name, verdict,
                                 time.monotonic() - start), flush=True)
    print("mutants: %d, caught %d, survived %d" %
          (len(mutants), caught, survived))
    sys.exit(survived != 0 or broken != 0)


if __name__ == "__main__":
    main()

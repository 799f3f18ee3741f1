#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests of QEMU's iotests suite with flatcow-img in qemu-img's place;
usually run by "./dev iotests".

A test counts as passed when its output is what QEMU has recorded and
flatcow-img did some of the work: the table says how many of the calls it had,
and how many the real qemu-img (shim.py decides, tests.py lists the tests).
"""

import argparse
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

from tests import DIFFERENT, TESTS

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT_SECONDS = 300
SHOWN_LINES = 60

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Result:
    """What became of one test. `calls` counts those of each tool, `output` is
    what is worth showing of a failure."""

    def __init__(self, test):
        self.test = test
        self.calls = collections.Counter()
        self.verdict = None
        self.reason = ""
        self.output = ""


def environment(options, directory, sockets, calls):
    """The suite looks for its programs here. No test of the list starts one
    that is `nothing`, but the suite wants to know them all."""
    nothing = shutil.which("true")
    qemu_img = shutil.which("qemu-img")
    shim = os.path.join(HERE, "shim.py")
    return dict(os.environ,
                TEST_DIR=directory,
                SOCK_DIR=sockets,
                QEMU_PROG=nothing,
                QSD_PROG=nothing,
                QEMU_NBD_PROG=nothing,
                QEMU_IO_PROG=shutil.which("qemu-io"),
                QEMU_IMG_PROG=qemu_img if options.baseline else shim,
                FLATCOW_IMG=options.flatcow_img,
                FLATCOW_QEMU_IMG=qemu_img,
                FLATCOW_CALLS=calls)


def without_noise(output):
    """Without what the suite says about its surroundings."""
    return "\n".join(
        line for line in output.splitlines()
        if not line.startswith(("#", "1..", "ok ", "not ok ")))


def shorten(output):
    lines = output.splitlines()
    if len(lines) > SHOWN_LINES:
        lines[SHOWN_LINES:] = ["..."]
    return "\n".join(lines)


def check(options, test):
    """Runs one test. Return value: the suite's line about how it ended, what
    else it printed, and the calls."""
    directory = os.path.join(options.work, test)
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    calls = os.path.join(options.work, test + ".calls")
    open(calls, "w").close()
    with tempfile.TemporaryDirectory() as sockets:
        # timeout(1) ends what the test has started, too.
        process = subprocess.run(
            ["timeout", "--kill-after=5", str(TIMEOUT_SECONDS),
             sys.executable, "-B", "./check", "-qed", "-tap", test],
            cwd=options.suite, text=True,
            env=environment(options, directory, sockets, calls),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, errors="replace")
    ending = [line for line in process.stdout.splitlines()
              if line.startswith(("ok ", "not ok "))]
    with open(calls) as file:
        counts = collections.Counter(line.split()[0] for line in file)
    output = without_noise(process.stdout)
    if not ending:
        output += "\nIt did not end in %d s, or could not start." % \
            TIMEOUT_SECONDS
    return ending[-1] if ending else "", output, counts


def printed_instead(diff):
    return [line[1:] for line in diff.splitlines()
            if line.startswith("+") and not line.startswith("+++")]


def run(options, test):
    result = Result(test)
    ending, result.output, result.calls = check(options, test)
    different, lines = "", []
    if not options.baseline:
        different, lines = DIFFERENT.get(test, (different, lines))
    if ending.endswith("# SKIP"):
        result.verdict = SKIPPED
        result.reason = "the suite cannot run it here"
    elif not ending.startswith("ok "):
        as_listed = different and lines == printed_instead(result.output)
        result.verdict = SKIPPED if as_listed else FAILED
        result.reason = different if as_listed or not different else \
            "differs, and not as tests.py says"
    elif different:
        result.verdict = FAILED
        result.reason = "passes, though tests.py says: " + different
    elif not options.baseline and not result.calls["flatcow-img"]:
        result.verdict = FAILED
        result.reason = "flatcow-img had no part in it"
    else:
        result.verdict = PASSED
    return result


def run_all(options, tests):
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(lambda test: run(options, test), tests))


def report(results, show_skipped):
    for result in results:
        if result.verdict == FAILED or show_skipped and \
                result.verdict == SKIPPED:
            print("\n%s %s:\n%s" % (result.test, result.verdict,
                                    shorten(result.output)))
    print("\n%-5s %-8s %11s %8s" % ("test", "result", "flatcow-img",
                                    "qemu-img"))
    for result in results:
        line = "%-5s %-8s %11d %8d  %s" % (
            result.test, result.verdict, result.calls["flatcow-img"],
            result.calls["qemu-img"], result.reason)
        print(line.rstrip())
    verdicts = collections.Counter(result.verdict for result in results)
    print("%d passed, %d failed, %d skipped" % (
        verdicts[PASSED], verdicts[FAILED], verdicts[SKIPPED]))
    return verdicts[PASSED] > 0 and verdicts[FAILED] == 0


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="Tests that are listed as different are shown in full when "
        "they are named.")
    parser.add_argument("--baseline", action="store_true",
                        help="with the real qemu-img only")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--flatcow-img", required=True)
    parser.add_argument("--work", required=True,
                        help="directory for what the tests make")
    parser.add_argument("words", nargs="+", metavar="[TEST...] SUITE",
                        help="the suite is the directory tests/qemu-iotests "
                        "of a QEMU source")
    options = parser.parse_intermixed_args()
    *options.tests, options.suite = options.words
    for test in options.tests:
        if test not in TESTS:
            parser.error("no such test: %s; there are: %s" %
                         (test, " ".join(TESTS)))
    return options


def main():
    options = parse_arguments()
    os.makedirs(options.work, exist_ok=True)
    results = run_all(options, options.tests or TESTS)
    return 0 if report(results, show_skipped=bool(options.tests)) else 1


if __name__ == "__main__":
    sys.exit(main())

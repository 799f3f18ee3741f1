#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots virtual machines whose disks are views, usually run by "./dev vms".
Ends with a line of counts."""

import argparse
import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import scenarios
from guest_disk import Guest
from machine import Machine, Mode, has_io_uring, has_kvm
from overlays import OVERLAYS, Overlays
from tally import Tally

DIRECT = Mode("none", "native")
CACHED = Mode("writeback", "threads")
# What QEMU has, without what the kernel does not permit.
MODES = (DIRECT, CACHED, Mode("none", "io_uring"), Mode("none", "threads"),
         Mode("writethrough", "threads"))


def at_once(tally, *calls):
    """Runs functions side by side, each with a machine of its own. Return
    value: theirs, None of one that failed."""
    results = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(*call) for call in calls]:
            error = future.exception()
            tally.check(error is None, "no exception: %r" % error)
            results.append(None if error else future.result())
    return results


def short(bench):
    """One overlay of each format, one way to open it each. Return value: the
    tokens of what is in which overlay."""
    calls = {"a1.add-cow": DIRECT, "q1.qed": CACHED}
    return dict(zip(calls, at_once(
        bench.tally, *((scenarios.crash, bench, name, mode)
                       for name, mode in calls.items()))))


def full(bench, modes):
    turns = [(name, modes[i % 2]) for i, name in enumerate(OVERLAYS)]
    at_once(bench.tally, *((scenarios.use, bench, name, modes)
                           for name in OVERLAYS))
    for scenario in (scenarios.crash, scenarios.trim):
        at_once(bench.tally, *((scenario, bench, *turn) for turn in turns))
    return {name: scenarios.crash(bench, name, mode, kill_daemon=True)
            for name, mode in turns}


def can_loop():
    return os.geteuid() == 0 and subprocess.run(
        ["losetup", "--find"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL).returncode == 0


def run(options, work, tally):
    guest = Guest(options.kernel, work)
    if has_kvm(work):
        Machine.accelerator = "kvm"
    modes = [mode for mode in MODES
             if mode.aio != "io_uring" or has_io_uring(guest.golden)]
    overlays = Overlays(options.flatcow, options.flatcow_img, guest.golden,
                        work)
    golden = overlays.checksum("golden.raw")
    for name in OVERLAYS:
        overlays.make(name)
    try:
        overlays.mount()
        bench = scenarios.Bench(guest, overlays, tally, work)
        tokens = short(bench) if options.short else full(bench, modes)
        if can_loop():
            for name, token in tokens.items():
                scenarios.loop(bench, name, token)
        scenarios.finish(bench, tokens, golden)
    finally:
        Machine.kill_all()
        overlays.clean_up()


def stop(*_):
    Machine.kill_all()  # so that nothing waits for them
    sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--flatcow", required=True)
    parser.add_argument("--flatcow-img", required=True)
    parser.add_argument("kernel", help="an unpacked package of a kernel")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    tally = Tally()
    start = time.monotonic()
    work = tempfile.mkdtemp(prefix="flatcow-vms.",
                            dir=os.environ.get("TMPDIR", "/var/tmp"))
    try:
        run(options, work, tally)
    finally:
        shutil.rmtree(work)
    print("virtual machines (%s): %d boots, %d checks, %d failures; %s; %d s" %
          (Machine.accelerator, Machine.boots, tally.checks, tally.failures,
           ", ".join("%d %s" % (n, what) for what, n in tally.notes.items()),
           time.monotonic() - start))
    sys.exit(bool(tally.failures) or not Machine.boots)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots virtual machines whose disks are views, usually run by "./dev vms".
Ends with a line of counts."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import scenarios
from guest_disk import Guest
from machine import Machine, Mode, has_io_uring
from overlays import OVERLAYS, Overlays
from tally import Tally

DIRECT = Mode("none", "native")
CACHED = Mode("writeback", "threads")
# What people use, and what is left of what QEMU has.
MODES = (DIRECT, CACHED, Mode("none", "io_uring"), Mode("none", "threads"),
         Mode("writethrough", "threads"))


def short(bench):
    """One overlay of each format, one way to open it each. Return value: the
    tokens of what is in which overlay."""
    modes = {"a1.add-cow": DIRECT, "q1.qed": CACHED}
    return dict(zip(modes, bench.at_once(scenarios.kill_machine,
                                         modes.items())))


def full(bench, modes):
    bench.at_once(scenarios.use, [(name, modes) for name in OVERLAYS])
    turns = [(name, modes[i % 2]) for i, name in enumerate(OVERLAYS)]
    bench.at_once(scenarios.trim, turns)
    bench.at_once(scenarios.back_up, turns[::5])  # one of each format
    for i in range(0, len(turns), 2):
        scenarios.kill_daemon(bench, turns[i:i + 2])
    return dict(zip(OVERLAYS, bench.at_once(scenarios.kill_machine, turns)))


def can_loop():
    return os.geteuid() == 0 and subprocess.run(
        ["losetup", "--find"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL).returncode == 0


def run(options, work, tally):
    guest = Guest(options.kernel, work)
    modes = list(MODES)
    if not has_io_uring(guest.golden):
        print("not possible here: aio=io_uring")
        modes.remove(Mode("none", "io_uring"))
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
        Machine.stop()
        overlays.clean_up()


def stop(*_):
    Machine.stop()  # so that nothing waits for them
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

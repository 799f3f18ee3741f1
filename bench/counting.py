# SPDX-License-Identifier: Apache-2.0
"""What the daemon's counters cost: the time to count a request beside the CPU
time that the daemon takes for one, and how many requests a writer causes that
are not writes (extended attributes must not be asked for before each)."""

import json
import os
import statistics

from images import create_overlay, write_random
from machine import KIB, MIB, cpu_seconds, run
from systems import mount_folder
from workloads import fio, milliseconds

SIZE = 64 * MIB
KINDS = (("4K random read, O_DIRECT, depth 32", "read", "read"),
         ("4K random write to allocated clusters, O_DIRECT, depth 32",
          "write", "write"))


def counting_seconds(program):
    report = json.loads(run(
        program, "--benchmark_filter=CountRequest/real_time/threads:1$",
        "--benchmark_format=json", "--benchmark_repetitions=5"))
    return statistics.median(
        entry["cpu_time"] for entry in report["benchmarks"]
        if entry["run_type"] == "iteration") / 1e9


def counts(view_folder):
    with open(os.path.join(view_folder, ".flatcow", "status.json")) as file:
        requests = json.load(file)["requests"]
    return {name: values["count"] for name, values in requests.items()}


def measure(mount, view, direction, operation, seconds):
    """CPU seconds of a request, and {operation: requests}."""
    before, busy = counts(mount.view), cpu_seconds(mount.processes)
    fio(direction, 32, rw="rand" + direction, filename=view, size=SIZE,
        bs=4 * KIB, time_based=1, runtime=milliseconds(seconds),
        norandommap=1, randseed=1)
    busy = cpu_seconds(mount.processes) - busy
    after = counts(mount.view)
    made = {name: after[name] - before.get(name, 0) for name in after}
    return busy / made[operation], made


def counting(scratch, program, quick):
    """The sections of the report; `program`: counting_benchmark."""
    folder = scratch.folder("images")
    write_random(os.path.join(folder, "base.raw"), SIZE, "base")
    create_overlay("qed", os.path.join(folder, "disk"), "base.raw")
    cost = counting_seconds(program)
    rows = []
    with mount_folder(scratch, folder) as mount:
        view = os.path.join(mount.view, "disk.raw")
        with open(view, "r+b", buffering=0) as file:
            for offset in range(0, SIZE, MIB):
                os.pwrite(file.fileno(), os.urandom(MIB), offset)
        for title, direction, operation in KINDS:
            request, made = measure(mount, view, direction, operation,
                                    2 if quick else 10)
            others = sum(made.values()) - made[operation]
            rows.append([title, request * 1e6, cost * 1e9,
                         100 * cost / request, made[operation],
                         made.get("getxattr", 0), others])
    return [{
        "title": "What counting costs",
        "note": "A request is counted once. The rest of its requests are those "
                "of open, stat and close;\nwith attributes that the kernel "
                "asked for before each write, getxattr would be as many as\n"
                "writes.",
        "header": ["workload", "CPU of a request, us", "of its counting, ns",
                   "%", "requests", "getxattr", "all others"],
        "rows": rows,
    }]

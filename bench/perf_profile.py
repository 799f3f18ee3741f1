# SPDX-License-Identifier: Apache-2.0
"""Where the daemon's time goes, seen by perf, while it is busy."""

import os
import re
import shutil
import signal
import subprocess

from machine import run
from systems import SYSTEMS
from workloads import VIEW_WORKLOADS

NAMES = ["seq-read-cold", "rand-read-32", "cow-32"]
SYSTEM_NAMES = ["flatcow-qed", "flatcow-add-cow"]
LIMIT = 5.0  # percent, of a function of flatcow's
SHOWN = 12
FREQUENCY = 4000  # Hz


class Profiled:
    """A workload whose run() is watched."""

    def __init__(self, workload, data):
        self.workload = workload
        self.data = data

    def measure(self, place, system):
        workload = self.workload
        folder = place.images.get(system, workload.kind)
        with system.mount(place, folder) as mount:
            os.sync()
            workload.prepare(place, folder, mount.view)
            perf = subprocess.Popen(
                ["perf", "record", "--quiet", "-F", str(FREQUENCY), "-o",
                 self.data, "-p", str(mount.processes[0].pid)],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                workload.run(place, mount.view, 0)
            finally:
                perf.send_signal(signal.SIGINT)
                perf.wait()
        return self.functions()

    def functions(self):
        """[(percent, object, function)], the most first."""
        report = run("perf", "report", "-i", self.data, "--stdio", "-q",
                     "--percent-limit", "0.1", "--sort", "dso,symbol")
        found = []
        for line in report.splitlines():
            match = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(.*?)"
                             r"(\s+-)*\s*$", line)
            if match:
                found.append((float(match[1]), match[2], match[4]))
        return sorted(found, reverse=True)


def is_lock(name):
    return bool(re.search(r"pthread_mutex|lll_lock|futex|cond_(wait|signal|"
                          r"broadcast)", name))


def rows_of(title, functions):
    own = [f for f in functions if f[1] == "flatcow"]
    locks = sum(f[0] for f in functions if is_lock(f[2]))
    most = max(own, default=(0.0, "", "none"))
    rows = [[title, f[1], f[2], f[0]] for f in functions[:SHOWN]]
    rows.append([title, "flatcow", "most of its functions: " + most[2],
                 most[0]])
    rows.append([title, "flatcow", "all of its functions",
                 sum(f[0] for f in own)])
    rows.append([title, "", "locks of threads", locks])
    return rows


def profile(place):
    """The sections of the report."""
    if not shutil.which("perf"):
        raise RuntimeError("there is no perf")
    data = os.path.join(place.scratch.path, "perf.data")
    rows = []
    for workload in VIEW_WORKLOADS:
        if workload.name not in NAMES:
            continue
        for name in SYSTEM_NAMES:
            title = "%s, %s" % (workload.title, name)
            rows += rows_of(title,
                            Profiled(workload, data).measure(
                                place, SYSTEMS[name]))
    return [{
        "title": "Where the daemon's time goes",
        "note": "Percent of the daemon's samples, in all threads, kernel "
                "included. No function of\nflatcow's should have more than "
                "%g, and no lock should be seen." % LIMIT,
        "header": ["workload", "object", "function", "percent"],
        "rows": rows,
    }]

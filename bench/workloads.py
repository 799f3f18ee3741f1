# SPDX-License-Identifier: Apache-2.0
"""What is measured on a view of one disk."""

import json
import os
import time

from images import CLUSTER, shuffled_clusters
from machine import (GIB, MIB, aligned_buffer, cpu_seconds, drop_caches,
                     rss_mib, run, touch_memory, warm)
from systems import CHAINS, COMPARED, DATA, IMAGE

BLOCK = 4096
COW_LIMIT = 3  # seconds


class Workload:
    """A row of the table: its name, title, unit, and the kind of image."""

    systems = COMPARED
    kind = "half"
    unit = "op/s"
    more_is_better = True

    def __init__(self, name, title):
        self.name = name
        self.title = title

    def measure(self, place, system, round_number):
        """One value of one system, on a mount of its own."""
        folder = place.images.get(system, self.kind)
        with system.mount(place, folder) as mount:
            os.sync()
            self.prepare(place, folder, mount.view)
            cpu = cpu_seconds(mount.processes)
            value, size = self.run(place, mount.view, round_number)
            return {
                "value": value,
                "bytes": size,
                "daemon_cpu_s": cpu_seconds(mount.processes) - cpu,
                "daemon_rss_mib": rss_mib(mount.processes, "VmHWM"),
            }

    def prepare(self, place, folder, view):
        """Until here nothing is timed: the host has all files in its cache."""
        warm(place.base, place.region)
        for name in (IMAGE, DATA):
            path = os.path.join(folder, name)
            if os.path.exists(path):
                warm(path, 2 * place.region)


class SequentialRead(Workload):
    """All of the data in pieces of 1 MiB.

    "cold": from caches just dropped, so that on a disk the files under the
    view are cold too, while on tmpfs they can't be. "again": a second open of
    a view that was read before. "direct": O_DIRECT.
    """

    unit = "GB/s"

    def __init__(self, name, title, how):
        super().__init__(name, title)
        self.how = how

    def prepare(self, place, folder, view):
        if self.how == "cold":
            drop_caches()
        elif self.how == "again":
            warm(view, place.region)
        else:
            super().prepare(place, folder, view)
        # The view, the base, and the holes of a data file may all be cached.
        touch_memory(4 * place.region)

    def run(self, place, view, round_number):
        flags = os.O_DIRECT if self.how == "direct" else 0
        with aligned_buffer(MIB) as buffer:
            buffer.write(bytes(MIB))
            start = time.perf_counter()
            descriptor = os.open(view, os.O_RDONLY | flags)
            for offset in range(0, place.region, MIB):
                if os.preadv(descriptor, [buffer], offset) != MIB:
                    raise RuntimeError("short read")
            seconds = time.perf_counter() - start
            os.close(descriptor)
        return place.region / seconds / 1e9, place.region


class SequentialWrite(Workload):
    """Buffered writes of 1 MiB to all clusters of a fresh image, one fsync."""

    kind = "empty"
    unit = "GB/s"

    def prepare(self, place, folder, view):
        super().prepare(place, folder, view)
        touch_memory(2 * place.region)

    def run(self, place, view, round_number):
        with aligned_buffer(MIB) as buffer:
            buffer.write(os.urandom(MIB))
            start = time.perf_counter()
            descriptor = os.open(view, os.O_WRONLY)
            for offset in range(0, place.region, MIB):
                if os.pwrite(descriptor, buffer, offset) != MIB:
                    raise RuntimeError("short write")
            os.fsync(descriptor)
            seconds = time.perf_counter() - start
            os.close(descriptor)
        return place.region / seconds / 1e9, place.region


def fio(direction, depth=1, **options):
    """fio's report of one job, "read" or "write"."""
    arguments = {
        "name": "job", "iodepth": depth,
        "ioengine": "psync" if depth == 1 else "libaio", "direct": 1,
        "allow_file_create": 0, "fallocate": "none", "invalidate": 0,
        "output-format": "json",
    }
    arguments.update(options)
    output = run("fio", *("--%s=%s" % pair for pair in arguments.items()))
    job = json.loads(output[output.index("{"):])["jobs"][0]
    if job["error"]:
        raise RuntimeError("fio: error %d" % job["error"])
    return job[direction]


def milliseconds(seconds):
    return "%dms" % (1000 * seconds)


class Random(Workload):
    """4 KiB requests at random places for some seconds, O_DIRECT by default."""

    def __init__(self, name, title, direction, depth=1, kind="half",
                 systems=COMPARED, **options):
        super().__init__(name, title)
        self.direction = direction
        self.depth = depth
        self.kind = kind
        self.systems = systems
        self.options = options

    def prepare(self, place, folder, view):
        super().prepare(place, folder, view)
        if "fsync" in self.options:  # the only one that is buffered
            touch_memory(place.region)

    def run(self, place, view, round_number):
        report = fio(self.direction, self.depth, rw="rand" + self.direction,
                     filename=view, size=place.region, bs=BLOCK, time_based=1,
                     runtime=milliseconds(place.seconds), norandommap=1,
                     randseed=round_number + 1, **self.options)
        return report["iops"], report["io_bytes"]


class CopyOnWrite(Workload):
    """4 KiB to each cluster of a fresh image once, in random order."""

    kind = "empty"

    def __init__(self, name, title, depth):
        super().__init__(name, title)
        self.depth = depth

    def prepare(self, place, folder, view):
        super().prepare(place, folder, view)
        touch_memory(2 * place.region)

    def run(self, place, view, round_number):
        # fio's own random offsets never repeat, or are a cluster apart: not
        # both. So it is given a log of requests to replay.
        log = os.path.join(place.scratch.path, "requests")
        clusters = shuffled_clusters(place.region, round_number)
        requests = ["write %d %d" % (cluster * CLUSTER, BLOCK)
                    for cluster in clusters]
        with open(log, "w") as file:
            file.write("fio version 2 iolog\n")
            for request in ["add", "open", *requests, "close"]:
                file.write("%s %s\n" % (view, request))
        report = fio("write", self.depth, read_iolog=log,
                     runtime=milliseconds(COW_LIMIT))
        return report["iops"], report["io_bytes"]


VIEW_WORKLOADS = [
    SequentialRead("seq-read-cold", "sequential read, cold", "cold"),
    SequentialRead("seq-read-again", "sequential read again, new open",
                   "again"),
    SequentialRead("seq-read-direct", "sequential read, O_DIRECT 1 MiB",
                   "direct"),
    Random("rand-read-1", "random 4K read, depth 1", "read"),
    Random("rand-read-32", "random 4K read, depth 32", "read", 32),
    Random("rand-write-1", "random 4K write, allocated, depth 1", "write",
           kind="full"),
    Random("rand-write-32", "random 4K write, allocated, depth 32", "write", 32,
           kind="full"),
    Random("rand-write-fsync", "random 4K write + fsync", "write", kind="full",
           direct=0, fsync=1),
    CopyOnWrite("cow-1", "4K write to new clusters, depth 1", 1),
    CopyOnWrite("cow-32", "4K write to new clusters, depth 32", 32),
    SequentialWrite("seq-write-new",
                    "sequential write to new clusters + fsync"),
    Random("chain-read", "random 4K read in a chain, depth 1", "read",
           kind="chain", systems=CHAINS),
]


def cpu_per_gib(sample):
    return sample["daemon_cpu_s"] / (sample["bytes"] / GIB)

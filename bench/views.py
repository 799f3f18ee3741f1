# SPDX-License-Identifier: Apache-2.0
"""How much memory do many views of one golden image take?

Every view is an overlay with nothing in it, read from end to end; all stay
open. Files are on a disk, where the golden image itself is cached once.
"""

import contextlib
import os
import time

from images import create_overlay, write_random
from machine import (MIB, aligned_buffer, drop_caches, meminfo, rss_mib,
                     touch_memory)
from systems import mount_folder

COUNTS = [1, 10, 100]
WAYS = [  # options of the mount, flags of open
    ("cache=auto", [], 0),
    ("cache=none", ["cache=none"], 0),
    ("cache=auto, O_DIRECT", [], os.O_DIRECT),
]


def read_all(paths, flags, size, stack):
    with aligned_buffer(MIB) as buffer:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | flags)
            stack.callback(os.close, descriptor)
            for offset in range(0, size, MIB):
                if os.preadv(descriptor, [buffer], offset) != MIB:
                    raise RuntimeError("short read")


def one(scratch, folder, count, way, size):
    name, options, flags = way
    drop_caches()
    # What the kernel may cache; not all of the memory of a small machine.
    touch_memory(min(count * size, meminfo("MemAvailable") // 2))
    with mount_folder(scratch, folder, options) as mount, \
            contextlib.ExitStack() as stack:
        paths = [os.path.join(mount.view, "vm%d.qed.raw" % number)
                 for number in range(count)]
        cached, available = meminfo("Cached"), meminfo("MemAvailable")
        start = time.perf_counter()
        read_all(paths, flags, size, stack)
        seconds = time.perf_counter() - start
        return [count, name,
                (meminfo("Cached") - cached) // MIB,
                (available - meminfo("MemAvailable")) // MIB,
                round(rss_mib(mount.processes, "VmHWM")),
                count * size / seconds / 1e9]


def views(scratch, quick):
    """The sections of the report."""
    size = (32 if quick else 256) * MIB
    folder = scratch.folder("images")
    write_random(os.path.join(folder, "golden.raw"), size, "golden")
    for number in range(max(COUNTS)):
        create_overlay("qed", os.path.join(folder, "vm%d.qed" % number),
                       "golden.raw")
    return [{
        "title": "Memory by the number of views read",
        "note": "Overlays of one golden image of %d MiB, each read from end to "
                "end, all open, from\ncold caches; files on a disk. MiB by "
                "which Cached grew and MemAvailable fell (what\nis cached "
                "counts as available), and the daemon's; GB/s while they were "
                "read. More than\nthere is of memory can't be cached." %
                (size // MIB),
        "header": ["views", "how", "Cached", "MemAvailable", "daemon", "GB/s"],
        "rows": [one(scratch, folder, count, way, size)
                 for way in WAYS for count in COUNTS],
    }]

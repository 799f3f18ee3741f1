# SPDX-License-Identifier: Apache-2.0
"""Whose pages do many readers of one golden image fill?

A hundred overlays of one golden image, half QED and half add-cow, nothing in
them; all opened at once and read from end to end, in every way there is. The
kernel says of each file how many of its pages are in memory (cachestat).
"""

import contextlib
import ctypes
import mmap
import os
import re
import time

from images import create_overlay, write_random
from machine import MIB, aligned_buffer, drop_caches, meminfo, run, touch_memory
from systems import mount_folder

VIEWS = 100
CACHESTAT = 451  # the system call, since Linux 6.5
PAGE = os.sysconf("SC_PAGE_SIZE")


class Way:
    """Options of the mount, and how its views are read."""

    def __init__(self, name, options=(), flags=0, mapped=False, loop=None):
        self.name = name
        self.options = options
        self.flags = flags
        self.mapped = mapped
        self.loop = loop  # options of losetup: the views are read through it


WAYS = [
    Way("default, read"),
    Way("default, O_DIRECT", flags=os.O_DIRECT),
    Way("default, mmap", mapped=True),
    Way("cache=none, read", ["cache=none"]),
    Way("cache=none, mmap", ["cache=none"], mapped=True),
    Way("ro, passthrough, read", ["ro"]),
    Way("ro, passthrough, O_DIRECT", ["ro"], flags=os.O_DIRECT),
    Way("ro, passthrough, mmap", ["ro"], mapped=True),
    Way("loop device, read", loop=[]),
    Way("loop device with direct I/O, read", loop=["--direct-io=on"]),
    Way("loop device with direct I/O, O_DIRECT", flags=os.O_DIRECT,
        loop=["--direct-io=on"]),
]


def cached_bytes(descriptor):
    """How much of the file has pages in the kernel's cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    everything = (ctypes.c_uint64 * 2)(0, 0)
    counts = (ctypes.c_uint64 * 5)()
    if libc.syscall(ctypes.c_long(CACHESTAT), ctypes.c_uint(descriptor),
                    everything, counts, ctypes.c_uint(0)):
        raise OSError(ctypes.get_errno(), "cachestat")
    return counts[0] * PAGE


def memory_mib(process, key):
    with open("/proc/%d/smaps_rollup" % process.pid) as file:
        return int(re.search(key + r":\s+(\d+)", file.read())[1]) / 1024


def read_by_calls(descriptor, size):
    with aligned_buffer(MIB) as buffer:
        for offset in range(0, size, MIB):
            if os.preadv(descriptor, [buffer], offset) != MIB:
                raise RuntimeError("short read")


def read_mapped(descriptor, size, stack):
    """The mapping stays, as it does while a program runs."""
    memory = stack.enter_context(
        mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ))
    for offset in range(0, size, MIB):
        memory[offset:offset + MIB]


def attach_loops(views, options, stack):
    devices = []
    for view in views:
        device = run("losetup", "--find", "--show", "--read-only", *options,
                     view).strip()
        stack.callback(run, "losetup", "--detach", device)
        devices.append(device)
    return devices


def opened(path, flags, stack):
    descriptor = os.open(path, os.O_RDONLY | flags)
    stack.callback(os.close, descriptor)
    return descriptor


def cached_mib(descriptors):
    return sum(cached_bytes(d) for d in descriptors) // MIB


def kept_mib():
    """What the kernel keeps of all files. It counts as available."""
    return (meminfo("Cached") + meminfo("Buffers")) // MIB


def measure(way, folder, mount, names, size):
    with contextlib.ExitStack() as stack:
        golden = opened(os.path.join(folder, "golden.raw"), 0, stack)
        paths = [os.path.join(mount.view, name + ".raw") for name in names]
        kept = kept_mib()
        if way.loop is None:
            views = [opened(path, way.flags, stack) for path in paths]
            readers = views
        else:
            views = [opened(path, 0, stack) for path in paths]
            readers = [opened(device, way.flags, stack)
                       for device in attach_loops(paths, way.loop, stack)]
        start = time.perf_counter()
        for reader in readers:
            if way.mapped:
                read_mapped(reader, size, stack)
            else:
                read_by_calls(reader, size)
        seconds = time.perf_counter() - start
        views_mib = cached_mib(views)
        return [way.name, cached_mib([golden]),
                views_mib / len(views), views_mib,
                cached_mib(readers) if way.loop is not None else 0,
                kept_mib() - kept,
                memory_mib(mount.processes[0], "Rss"),
                memory_mib(mount.processes[0], "Pss"),
                len(readers) * size / seconds / 1e9]


def one(scratch, way, folder, names, size):
    drop_caches()
    # What the kernel may cache; not all of the memory of a small machine.
    touch_memory(min(len(names) * size, meminfo("MemAvailable") // 2))
    with mount_folder(scratch, folder, way.options) as mount:
        return measure(way, folder, mount, names, size)


def pages(scratch, quick):
    """The sections of the report."""
    size = (16 if quick else 64) * MIB
    folder = scratch.folder("images")
    write_random(os.path.join(folder, "golden.raw"), size, "golden")
    names = []
    for number in range(VIEWS):
        image_format = ("qed", "add-cow")[number % 2]
        names.append("vm%d.%s" % (number, image_format))
        create_overlay(image_format, os.path.join(folder, names[-1]),
                       "golden.raw")
    return [{
        "title": "Whose pages %d views of one golden image fill" % VIEWS,
        "note": "Overlays of a golden image of %d MiB, half of them QED and "
                "half add-cow, nothing in\nthem; all opened, then each read "
                "from end to end, and all stay open; from cold caches,\nfiles "
                "on a disk. MiB of pages in the kernel's cache: of the golden "
                "image, of each\nview, of all views, of the loop devices; "
                "\"kept\": by how much its cache of all files grew,\nothers on "
                "the machine included. The daemon's resident memory, and its "
                "share of it (PSS).\nGB/s while they were read, one after the "
                "other." % (size // MIB),
        "header": ["how", "golden", "a view", "all views", "loop", "kept",
                   "RSS", "PSS", "GB/s"],
        "rows": [one(scratch, way, folder, names, size) for way in WAYS],
    }]

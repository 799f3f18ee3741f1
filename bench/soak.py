# SPDX-License-Identifier: Apache-2.0
"""Does the daemon need more memory the longer it works?

A hundred images, half of each format, are all open and asked at random, one
request at a time. Before the first line the cache of tables and bitmaps has
been filled to its limit.
"""

import ctypes
import os
import random

from images import CLUSTER, create_overlay, write_random
from machine import MIB, TIB, aligned_buffer, rss_mib
from systems import mount_folder

IMAGES = 100
SIZE = TIB  # of each disk: half a page of bitmap for a GiB of it
WRITTEN = 16 * MIB  # of each disk, at its beginning: it bounds the files
BLOCK = 4096
MINUTE = 20000  # requests: a busy guest's
MINUTES = [1, 2, 5, 15, 30, 60]

PUNCH_HOLE = 0x1 | 0x2  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
libc = ctypes.CDLL(None, use_errno=True)


class Guest:
    """Does one request after the other to views chosen at random."""

    def __init__(self, paths, seed):
        self.paths = paths
        self.random = random.Random(seed)
        self.views = [self.open(path) for path in paths]
        self.kinds = [self.read, self.write, self.punch, self.sync, self.reopen]
        self.shares = [70, 20, 5, 4, 1]
        self.buffer = aligned_buffer(BLOCK)

    def open(self, path):
        return os.open(path, os.O_RDWR | os.O_DIRECT)

    def close(self):
        for view in self.views:
            os.close(view)

    def work(self, requests):
        for kind in self.random.choices(self.kinds, self.shares, k=requests):
            kind(self.random.randrange(len(self.views)))

    def block_in(self, size):
        return self.random.randrange(size // BLOCK) * BLOCK

    def read(self, index):
        os.preadv(self.views[index], [self.buffer], self.block_in(SIZE))

    def write(self, index):
        os.pwritev(self.views[index], [self.buffer], self.block_in(WRITTEN))

    def punch(self, index):
        offset = self.random.randrange(WRITTEN // CLUSTER) * CLUSTER
        if libc.fallocate64(self.views[index], PUNCH_HOLE,
                            ctypes.c_int64(offset), ctypes.c_int64(CLUSTER)):
            raise OSError(ctypes.get_errno(), "fallocate")

    def sync(self, index):
        os.fsync(self.views[index])

    def reopen(self, index):
        os.close(self.views[index])
        self.views[index] = self.open(self.paths[index])

    def fill_cache(self):
        """Reads a block behind each page of each bitmap or table of tables."""
        for view in self.views:
            for offset in range(0, SIZE, 4096 * 8 * CLUSTER):
                os.preadv(view, [self.buffer], offset)


def soak(scratch, quick):
    """The sections of the report."""
    folder = scratch.folder("images")
    base = os.path.join(folder, "base.raw")
    write_random(base, WRITTEN, "base")
    os.truncate(base, SIZE)
    names = ["vm%d.%s" % (number, ("qed", "add-cow")[number % 2])
             for number in range(IMAGES)]
    for name in names:
        create_overlay(name.partition(".")[2], os.path.join(folder, name),
                       "base.raw")
    minute = MINUTE // 20 if quick else MINUTE
    rows = []
    with mount_folder(scratch, folder) as mount:
        guest = Guest([os.path.join(mount.view, name + ".raw")
                       for name in names], seed=1)
        try:
            guest.fill_cache()
            done = 0
            for minutes in MINUTES:
                guest.work((minutes - done) * minute)
                done = minutes
                rows.append([minutes, minutes * minute,
                             rss_mib(mount.processes)])
        finally:
            guest.close()
    return [{
        "title": "Memory by the length of work",
        "note": "Random reads, writes, punches, fsyncs and opens of %d images "
                "of %d TiB, all open; a\nminute is %d requests. The daemon's "
                "resident memory in MiB." % (IMAGES, SIZE // TIB, minute),
        "header": ["minutes", "requests", "memory"],
        "rows": rows,
    }]

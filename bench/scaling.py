# SPDX-License-Identifier: Apache-2.0
"""Does the cost of a request grow with the size of the disk, with the number
of open views, or with the length of the chain?

Requests are 4 KiB, O_DIRECT, one at a time; files are on tmpfs.
"""

import contextlib
import os
import random
import statistics
import time

from images import CLUSTER, create_overlay, make_chain, write_random
from machine import GIB, MIB, TIB, aligned_buffer, rss_mib, touch_memory
from systems import IMAGE, mount_folder

BLOCK = 4096
CLUSTERS = 2048  # written and read
READS = 4  # of each
AREAS = 8
SIZES = [GIB, 16 * GIB, 256 * GIB, 4 * TIB, 64 * TIB]
FORMATS = ["qed", "add-cow"]
VIEWS = [1, 10, 100, 1000]
LAYERS = [1, 4, 16, 64]


@contextlib.contextmanager
def opened(paths):
    descriptors = []
    try:
        for path in paths:
            descriptors.append(os.open(path, os.O_RDWR | os.O_DIRECT))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def microseconds(request, places):
    """The mean time of request(descriptor, [buffer], offset) at all places."""
    with aligned_buffer(BLOCK) as buffer:
        start = time.perf_counter()
        for descriptor, offset in places:
            if request(descriptor, [buffer], offset) != BLOCK:
                raise RuntimeError("short request")
        return (time.perf_counter() - start) * 1e6 / len(places)


def write_and_read(places, seed):
    """(us per write to a new cluster, us per read of it)"""
    shuffled = list(places)
    random.Random(seed).shuffle(shuffled)
    write = microseconds(os.pwritev, shuffled)
    random.Random(seed + 1).shuffle(shuffled)
    return write, microseconds(os.preadv, READS * shuffled)


def in_areas(size):
    """Offsets in a few areas all over the disk: as many tables are needed for
    a disk of any size."""
    each = CLUSTERS // AREAS
    return [area * (size // AREAS) + cluster * CLUSTER
            for area in range(AREAS) for cluster in range(each)]


def all_over(size):
    """Offsets as far apart as they can be."""
    return list(range(0, size, size // CLUSTERS))


def medians(samples):
    return [statistics.median(column) for column in zip(*samples)]


def size_round(scratch, image_format, size, seed):
    """One new overlay for each pattern of offsets, on a base of the same size
    that is one hole."""
    row = []
    for pattern in (in_areas, all_over):
        folder = scratch.new_folder("size")
        base = os.path.join(folder, "base.raw")
        with open(base, "wb") as file:
            file.truncate(size)
        create_overlay(image_format, os.path.join(folder, IMAGE), "base.raw")
        # A new table of QED's takes 256 KiB.
        touch_memory(CLUSTERS * (CLUSTER + 256 * 1024))
        with mount_folder(scratch, folder) as mount, \
                opened([os.path.join(mount.view, IMAGE + ".raw")]) as views:
            row += write_and_read([(views[0], o) for o in pattern(size)], seed)
            row.append(rss_mib(mount.processes, "VmHWM"))
    return row


def human_size(size):
    return "%d TiB" % (size // TIB) if size >= TIB else "%d GiB" % (size // GIB)


def by_size(scratch, rounds):
    samples = {(f, s): [] for f in FORMATS for s in SIZES}
    for seed in range(rounds):
        for image_format, size in samples:
            samples[image_format, size].append(
                size_round(scratch, image_format, size, seed))
    return {
        "title": "Cost by the size of the disk",
        "note": "%d clusters in %d areas of the disk, and as far apart as they "
                "can be: then QED\nneeds a table for each on a large disk. us "
                "per request, medians of %d; daemon\nmemory in MiB." %
                (CLUSTERS, AREAS, rounds),
        "header": ["format", "size", "write to new", "read", "memory",
                   "apart: write to new", "read", "memory"],
        "rows": [[image_format, human_size(size), *medians(values)]
                 for (image_format, size), values in samples.items()],
    }


def views_round(scratch, count, seed):
    folder = scratch.new_folder("views")
    write_random(os.path.join(folder, "base.raw"), CLUSTERS * CLUSTER, "base")
    names = ["vm%d.qed" % number for number in range(count)]
    for name in names:
        create_overlay("qed", os.path.join(folder, name), "base.raw")
    touch_memory(CLUSTERS * CLUSTER + count * 512 * 1024)
    with mount_folder(scratch, folder) as mount, opened(
            os.path.join(mount.view, name + ".raw") for name in names) as views:
        # Each gets its first table before the clock starts.
        microseconds(os.pwritev, [(view, 0) for view in views])
        generator = random.Random(seed)
        return [*write_and_read([(generator.choice(views), c * CLUSTER)
                                 for c in range(1, CLUSTERS)], seed),
                rss_mib(mount.processes, "VmHWM")]


def by_views(scratch, rounds):
    samples = {count: [] for count in VIEWS}
    for seed in range(rounds):
        for count in VIEWS:
            samples[count].append(views_round(scratch, count, seed))
    return {
        "title": "Cost by the number of open views",
        "note": "QED overlays of one base, all open, each request to any of "
                "them. us per\nrequest, medians of %d; daemon memory in MiB." %
                rounds,
        "header": ["views", "write to new", "read", "memory"],
        "rows": [[count, *medians(values)]
                 for count, values in samples.items()],
    }


def chain_round(scratch, layers, seed):
    """The layers share the first half of the clusters; the others are the
    base's."""
    folder = scratch.new_folder("chain")
    base = os.path.join(folder, "base.raw")
    write_random(base, CLUSTERS * CLUSTER, "base")
    clusters = list(range(CLUSTERS))
    shared, others = clusters[:CLUSTERS // 2], clusters[CLUSTERS // 2:]
    random.Random(seed).shuffle(shared)
    make_chain(scratch, folder, base, layers, shared)
    touch_memory(CLUSTERS * CLUSTER)
    with mount_folder(scratch, folder) as mount, \
            opened([os.path.join(mount.view, IMAGE + ".raw")]) as views:
        random.Random(seed + 1).shuffle(shared)
        read = microseconds(os.preadv,
                            [(views[0], c * CLUSTER) for c in READS * shared])
        write = microseconds(os.pwritev,
                             [(views[0], c * CLUSTER) for c in others])
        return [write, read, rss_mib(mount.processes, "VmHWM")]


def by_layers(scratch, rounds):
    samples = {layers: [] for layers in LAYERS}
    for seed in range(rounds):
        for layers in LAYERS:
            samples[layers].append(chain_round(scratch, layers, seed))
    return {
        "title": "Cost by the length of the chain",
        "note": "QED overlays; clusters read are spread over all layers, those "
                "written come from\nthe base. us per request, medians of %d; "
                "daemon memory in MiB." % rounds,
        "header": ["layers", "write to new", "read", "memory"],
        "rows": [[layers, *medians(values)]
                 for layers, values in samples.items()],
    }


def scaling(scratch, quick):
    """The sections of the report."""
    rounds = 1 if quick else 3
    return [by_size(scratch, rounds), by_views(scratch, rounds),
            by_layers(scratch, rounds)]

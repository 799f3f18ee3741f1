# SPDX-License-Identifier: Apache-2.0
"""What the host's own system calls cost that no daemon can do without."""

import os
import random
import statistics
import time

from images import CLUSTER
from machine import KIB, MIB, aligned_buffer, touch_memory

CLUSTERS = 4096
ROUNDS = 3


def microseconds(request, places):
    start = time.perf_counter()
    for place in places:
        request(place)
    return (time.perf_counter() - start) * 1e6 / len(places)


def calls(old, new, clusters):
    """{what: us}, each call in random order; `new` is an empty file."""
    shuffled = list(range(clusters))
    random.Random(1).shuffle(shuffled)
    with aligned_buffer(CLUSTER) as cluster, aligned_buffer(4 * KIB) as page:
        cluster.write(os.urandom(CLUSTER))
        return {
            "read 4 KiB that is cached": microseconds(
                lambda c: os.preadv(old, [page], c * CLUSTER), shuffled),
            "read 64 KiB that is cached": microseconds(
                lambda c: os.preadv(old, [cluster], c * CLUSTER), shuffled),
            "write 64 KiB behind the end": microseconds(
                lambda c: os.pwrite(new, cluster, c * CLUSTER),
                range(clusters)),
            "write 4 KiB that is there": microseconds(
                lambda c: os.pwrite(new, page, c * CLUSTER), shuffled),
            "fdatasync after 4 KiB": microseconds(
                lambda c: (os.pwrite(new, page, c * CLUSTER),
                           os.fdatasync(new)), shuffled[:64]),
        }


def measure(folder, quick):
    clusters = CLUSTERS // 8 if quick else CLUSTERS
    samples = []
    for _ in range(ROUNDS):
        paths = [os.path.join(folder, name) for name in ("old", "new")]
        old, new = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                    for path in paths)
        try:
            for _ in range(clusters * CLUSTER // MIB):
                os.write(old, os.urandom(MIB))
            touch_memory(2 * clusters * CLUSTER)
            samples.append(calls(old, new, clusters))
        finally:
            for descriptor, path in ((old, paths[0]), (new, paths[1])):
                os.close(descriptor)
                os.remove(path)
    return {what: statistics.median(sample[what] for sample in samples)
            for what in samples[0]}


def limits(scratches, quick):
    """The sections of the report; `scratches`: {"tmpfs": Scratch, ...}"""
    found = {name: measure(scratch.path, quick)
             for name, scratch in scratches.items()}
    operations = next(iter(found.values()))
    return [{
        "title": "What the host's own calls cost",
        "note": "us, medians of %d, called by one thread of this harness. The "
                "first write of 4 KiB to\na cluster of 64 KiB takes a read and "
                "a write of 64 KiB, whoever serves it." % ROUNDS,
        "header": ["call", *found],
        "rows": [[what, *(values[what] for values in found.values())]
                 for what in operations],
    }]

# SPDX-License-Identifier: Apache-2.0
"""Reading a compressed qcow2 base through empty overlays, by flatcow's views
and by qemu-storage-daemon's FUSE export: each system once in every round."""

import os
import random
import statistics
import time

from compare import say
from images import create_overlay, same_data
from machine import (GIB, KIB, MIB, aligned_buffer, cpu_seconds, drop_caches,
                     rss_mib, run, touch_memory, warm)
from mounts import Scratch
from report import number
from systems import IMAGE, Flatcow, QemuExport

BASE = "base.qcow2"
FLAT = "flat.raw"
PIECE = 4 * KIB
COMPRESSIONS = ("zlib", "zstd")


class Settings:
    """How much is measured."""

    def __init__(self, quick=False, rounds=None):
        self.size = 128 * MIB if quick else GIB
        self.rounds = rounds or (1 if quick else 5)


class QemuChainExport(QemuExport):
    """QEMU opens what the image records, as flatcow does."""

    def commands(self, place, images, folder, view):
        open(view, "w").close()  # it is mounted on a file
        return [[
            "qemu-storage-daemon",
            "--blockdev", "driver=%s,node-name=disk,discard=unmap,"
            "file.driver=file,file.discard=unmap,file.filename=%s" %
            (self.format, os.path.join(images, IMAGE)),
            "--export", "type=fuse,id=export,node-name=disk,writable=on,"
            "growable=off,mountpoint=" + view]]


SYSTEMS = [
    Flatcow("flatcow-qed", "qed"),
    Flatcow("flatcow-add-cow", "add-cow"),
    QemuChainExport("qsd-qed", "peer", "qed"),
    QemuChainExport("qsd-qcow2", "qcow2", "qcow2"),
]
# How the read begins.
STATES = {
    "cold": "all caches dropped",
    "warm": "the host has the files in its cache, the view has not been read",
    "again": "the view has been read before",
}


def write_content(path, size):
    """Words, the frequent ones again and again, and a tenth of noise: what
    compresses two or three times. Always the same."""
    generator = random.Random("compressed")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 9)))
             for _ in range(2000)]
    frequency = [1 / (rank + 2) for rank in range(len(words))]
    text = " ".join(generator.choices(words, frequency, k=800000)).encode()
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            pieces = []
            for _ in range(MIB // PIECE):
                if generator.random() < 0.1:
                    pieces.append(generator.randbytes(PIECE))
                else:
                    at = generator.randrange(len(text) - PIECE)
                    pieces.append(text[at:at + PIECE])
            file.write(b"".join(pieces))


class Place:
    """A flat file, a compressed base of the same data, and the overlays."""

    def __init__(self, scratch, flat, size, compression):
        self.scratch = scratch
        self.size = size
        self.flat = flat
        self.base_folder = scratch.new_folder("base-" + compression)
        self.base = os.path.join(self.base_folder, BASE)
        run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
            "compression_type=" + compression, flat, self.base)
        self.ratio = size / os.stat(self.base).st_size
        self.folders = {system.name: self.overlay(system, compression)
                        for system in SYSTEMS}

    def overlay(self, system, compression):
        folder = self.scratch.new_folder(system.name + "-" + compression)
        path = os.path.join(folder, IMAGE)
        if system.format == "qcow2":
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.base,
                "-F", "qcow2", path)
        else:
            create_overlay(system.format, path, self.base, "qcow2")
        return folder

    def mount(self, system):
        return system.mount(self, self.folders[system.name])

    def prepare(self, state, view):
        if state == "cold":
            drop_caches()
        elif state == "again":
            warm(view, self.size)
        else:
            warm(self.base, self.size)
        touch_memory(self.size * 5 // 4)


def read_all(view, size):
    """Seconds for all of it in pieces of 1 MiB."""
    with aligned_buffer(MIB) as buffer:
        buffer.write(bytes(MIB))
        start = time.perf_counter()
        descriptor = os.open(view, os.O_RDONLY)
        try:
            for offset in range(0, size, MIB):
                if os.preadv(descriptor, [buffer], offset) != MIB:
                    raise RuntimeError("short read")
        finally:
            os.close(descriptor)
        return time.perf_counter() - start


def sample(place, system, state):
    """GB/s, CPU seconds of the daemon for each GiB, its memory."""
    with place.mount(system) as mount:
        os.sync()
        place.prepare(state, mount.view)
        cpu = cpu_seconds(mount.processes)
        seconds = read_all(mount.view, place.size)
        return {
            "speed": place.size / seconds / 1e9,
            "cpu": (cpu_seconds(mount.processes) - cpu) * GIB / place.size,
            "rss": rss_mib(mount.processes, "VmHWM"),
        }


def check(place):
    for system in SYSTEMS:
        with place.mount(system) as mount:
            if not same_data(mount.view, place.flat, place.size):
                raise RuntimeError(system.name + " shows other data than the "
                                   "flat file")


def row(compression, state, system, samples, peer):
    speeds = [s["speed"] for s in samples]
    median = statistics.median(speeds)
    return [compression, state, system, "%s GB/s" % number(median),
            "%s..%s" % (number(min(speeds)), number(max(speeds))),
            "%.2f" % (median / peer),
            number(statistics.median(s["cpu"] for s in samples)),
            number(max(s["rss"] for s in samples))]


def rows_of(place, compression, rounds):
    rows = []
    for state in STATES:
        say("%s, %s" % (compression, state))
        samples = {system.name: [] for system in SYSTEMS}
        for _ in range(rounds):
            for system in SYSTEMS:
                samples[system.name].append(sample(place, system, state))
        peer = max(statistics.median(s["speed"] for s in samples[system.name])
                   for system in SYSTEMS if system.role != "flatcow")
        rows += [row(compression, state, name, those, peer)
                 for name, those in samples.items()]
    return rows


def compressed(parent, settings):
    """The section of the report."""
    rows, ratios = [], []
    with Scratch(parent) as scratch:
        flat = os.path.join(scratch.path, FLAT)
        write_content(flat, settings.size)
        for compression in COMPRESSIONS:
            say("making the base, " + compression)
            place = Place(scratch, flat, settings.size, compression)
            ratios.append("%s %.1f" % (compression, place.ratio))
            check(place)
            rows += rows_of(place, compression, settings.rounds)
    states = ";\n".join("\"%s\": %s" % item for item in STATES.items())
    return [{
        "title": "Reading a compressed qcow2 base",
        "note": "%d MiB of data through an empty overlay, sequentially in "
                "pieces of 1 MiB; clusters of\n64 KiB, compressed %s times. "
                "%s.\nMedian (least..most); rounds: %d, in each of which every "
                "system has its turn. \"Of peer\":\nthe faster of "
                "qemu-storage-daemon's two exports is 1. CPU: seconds of the "
                "daemon for a GiB." % (
                    settings.size // MIB, ", ".join(ratios), states,
                    settings.rounds),
        "header": ["compression", "caches", "system", "median", "least..most",
                   "of peer", "CPU, s", "memory, MiB"],
        "rows": rows,
    }]

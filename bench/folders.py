# SPDX-License-Identifier: Apache-2.0
"""What is measured on folders of images: flatcow only."""

import os
import time

from images import create_overlay
from machine import TIB, aligned_buffer, drop_caches, rss_mib, run
from systems import SYSTEMS, mount_folder

BLOCK = 4096


class FolderWorkload:
    unit = "ms"
    more_is_better = False

    def __init__(self, name, title, system):
        self.name = name
        self.title = title
        self.systems = [SYSTEMS[system]]


def make_overlays(folder, place, count):
    """Many empty overlays: copies of one, whose blocks are few."""
    first = os.path.join(folder, "vm0.qed")
    create_overlay("qed", first, place.base)
    size = os.path.getsize(first)
    with open(first, "rb") as file:
        header = file.read(BLOCK)
        tables = file.read()
    if any(tables):
        raise RuntimeError("a new overlay's tables are not empty")
    for number in range(1, count):
        with open(os.path.join(folder, "vm%d.qed" % number), "wb") as file:
            file.write(header)
            file.truncate(size)


def folder_of(place, count):
    folder = os.path.join(place.scratch.path, "folder-%d" % count)
    if not os.path.exists(folder):
        os.mkdir(folder)
        make_overlays(folder, place, count)
    return folder


def mount_overlays(place, folder):
    return mount_folder(place.scratch, folder, ["allow=" + place.base_folder])


class Listing(FolderWorkload):
    """Start over a folder of many images, until it can be used; then a
    command, if there is one, that prints a line for each."""

    def __init__(self, name, title, *command):
        super().__init__(name, title, "flatcow-qed")
        self.command = command

    def measure(self, place, system, round_number):
        with mount_overlays(place, folder_of(place, place.many)) as mount:
            value = mount.ready_seconds
            if self.command:
                start = time.perf_counter()
                lines = run(*self.command, mount.view).count("\n")
                value = time.perf_counter() - start
                if lines < place.many:
                    raise RuntimeError("only %d lines" % lines)
            return {"value": value * 1e3,
                    "daemon_rss_mib": rss_mib(mount.processes, "VmHWM")}


class NewOverlay(FolderWorkload):
    """From the start of `flatcow-img create` to the first byte of the view."""

    def __init__(self, name, title, count):
        super().__init__(name, title, "flatcow-qed")
        self.count = count

    def measure(self, place, system, round_number):
        folder = folder_of(place, self.count)
        new = os.path.join(folder, "new.qed")
        with mount_overlays(place, folder) as mount:
            if len(os.listdir(mount.view)) < self.count:
                raise RuntimeError("not all images are shown")
            try:
                start = time.perf_counter()
                create_overlay("qed", new, place.base)
                created = time.perf_counter()
                with open(os.path.join(mount.view, "new.qed.raw"), "rb",
                          buffering=0) as view:
                    view.read(1)
                end = time.perf_counter()
            finally:
                os.remove(new)
        return {"value": (end - start) * 1e3,
                "create_ms": (created - start) * 1e3}


class BigOpen(FolderWorkload):
    """Open of a disk of 1 TiB and the first 4 KiB, after caches were dropped.

    64 clusters are allocated all over the disk, the first among them.
    """

    def __init__(self, name, title, system):
        super().__init__(name, title, system)
        self.format = self.systems[0].format

    def image(self, place):
        folder = os.path.join(place.scratch.path, "big-" + self.format)
        if os.path.exists(folder):
            return folder
        os.mkdir(folder)
        options = ["-o", "image_file=big.data"] \
            if self.format == "add-cow" else []
        run("flatcow-img", "create", "-q", "-f", self.format, *options,
            os.path.join(folder, "big"), str(TIB))
        with mount_folder(place.scratch, folder) as mount:
            with open(os.path.join(mount.view, "big.raw"), "r+b",
                      buffering=0) as view:
                for offset in range(0, TIB, TIB // 64):
                    os.pwrite(view.fileno(), b"x" * BLOCK, offset)
                os.fsync(view.fileno())
        return folder

    def measure(self, place, system, round_number):
        with mount_folder(place.scratch, self.image(place)) as mount, \
                aligned_buffer(BLOCK) as buffer:
            path = os.path.join(mount.view, "big.raw")
            os.stat(path)
            drop_caches()
            start = time.perf_counter()
            descriptor = os.open(path, os.O_RDONLY)
            os.preadv(descriptor, [buffer], 0)
            seconds = time.perf_counter() - start
            os.close(descriptor)
            if buffer[0] != ord("x"):
                raise RuntimeError("shows other data than was written")
            return {"value": seconds * 1e3}


FOLDER_WORKLOADS = [
    Listing("many-ready", "many images in SOURCE: mount ready"),
    Listing("many-list", "many images in SOURCE: ls", "ls"),
    Listing("many-list-long", "many images in SOURCE: ls -l", "ls", "-l"),
    NewOverlay("new-of-1", "new overlay, first byte read, in a folder of 1", 1),
    NewOverlay("new-of-1000",
               "new overlay, first byte read, in a folder of 1,000", 1000),
    BigOpen("open-1tib-qed", "open of a QED image of 1 TiB, cold metadata",
            "flatcow-qed"),
    BigOpen("open-1tib-add-cow",
            "open of an add-cow image of 1 TiB, cold metadata",
            "flatcow-add-cow"),
]

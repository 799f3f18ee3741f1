# SPDX-License-Identifier: Apache-2.0
"""The disk images: one disk in several formats.

Only the first `place.region` bytes of a disk of `place.size` hold data, and
only they are measured. An image comes in three kinds:

    half    half of the clusters are allocated, chosen at random and in random
            order in the file; the others are the base's
    full    all are allocated
    empty   none is
"""

import os
import random

from machine import MIB, run
from systems import DATA, IMAGE, mount_folder

CLUSTER = 64 << 10
COMPATIBLE_FEATURES = 32  # in the header of add-cow; 0x1: ALL_ALLOCATED


def write_random(path, size, seed):
    """Data that does not compress, always the same."""
    generator = random.Random(seed)
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        for _ in range(size // MIB):
            file.write(generator.randbytes(MIB))


def make_base(path, region, size):
    write_random(path, region, "base")
    os.truncate(path, size)


def create(image_format, folder, base, size):
    """A new image with nothing allocated in `folder`."""
    path = os.path.join(folder, IMAGE)
    if image_format == "raw":
        with open(path, "wb") as file:
            file.truncate(size)
    elif image_format == "qcow2":
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw",
            path)
    elif image_format == "all-allocated":
        run("flatcow-img", "create", "-q", "-f", "add-cow",
            "-o", "image_file=" + DATA, path, str(size))
        with open(path, "r+b") as file:
            file.seek(COMPATIBLE_FEATURES)
            file.write(b"\x01")
    else:
        create_overlay(image_format, path, base)


def create_overlay(image_format, path, backing, backing_format="raw"):
    options = []
    if image_format == "add-cow":
        options = ["-o", "image_file=%s.data" %
                   os.path.splitext(os.path.basename(path))[0]]
    run("flatcow-img", "create", "-q", "-f", image_format, "-b", backing,
        "-F", backing_format, *options, path)


def shuffled_clusters(region, seed):
    clusters = list(range(region // CLUSTER))
    random.Random(seed).shuffle(clusters)
    return clusters


def write_clusters(view, clusters, seed):
    """Allocates the clusters, with data that depends on the seed."""
    generator = random.Random(seed)
    descriptor = os.open(view, os.O_WRONLY)
    try:
        for cluster in clusters:
            os.pwrite(descriptor, generator.randbytes(CLUSTER),
                      cluster * CLUSTER)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fill(system, place, folder, kind):
    """Makes an empty image one of the kind, through the system's own view."""
    clusters = shuffled_clusters(place.region, "choice")
    if kind == "half":
        del clusters[len(clusters) // 2:]
    with system.mount(place, folder) as mount:
        if system.is_flat:
            write_random(mount.view, place.region, "base")
        write_clusters(mount.view, clusters, kind)


def same_data(path, other, size):
    buffers = bytearray(MIB), bytearray(MIB)
    with open(path, "rb", buffering=0) as one, \
            open(other, "rb", buffering=0) as two:
        for _ in range(size // MIB):
            one.readinto(buffers[0])
            two.readinto(buffers[1])
            if buffers[0] != buffers[1]:
                return False
    return True


def make_chain(scratch, folder, base, layers, clusters):
    """A chain of QED layers, the last one IMAGE; each has its share of the
    clusters, and its own data."""
    options = ["allow=" + os.path.dirname(base)]
    with mount_folder(scratch, folder, options) as mount:
        backing, backing_format = base, "raw"
        for layer in range(layers):
            name = IMAGE if layer == layers - 1 else "layer%d" % layer
            create_overlay("qed", os.path.join(folder, name), backing,
                           backing_format)
            write_clusters(os.path.join(mount.view, name + ".raw"),
                           clusters[layer::layers], layer)
            backing, backing_format = name, "qed"


class Images:
    """Makes each image once; `get` returns the folder it is in.

    Systems of the same format are given the same file.
    """

    def __init__(self, place):
        self.place = place
        self.checked = set()

    def get(self, system, kind):
        name = "%s-%s" % (system.format, kind)
        if kind == "empty":
            folder = self.place.scratch.new_folder(name)
            create(system.format, folder, self.place.base, self.place.size)
            return folder
        folder = os.path.join(self.place.scratch.path, name)
        if not os.path.exists(folder):
            os.mkdir(folder)
            self.make(system, kind, folder)
        return folder

    def make(self, system, kind, folder):
        place = self.place
        if kind == "chain":
            make_chain(place.scratch, folder, place.base,
                       int(system.format.partition("-")[2]),
                       shuffled_clusters(place.region, "chain"))
        else:
            create(system.format, folder, place.base, place.size)
            fill(system, place, folder, kind)

    def check(self, system, native):
        """Raises unless the system shows what the native file has."""
        with system.mount(self.place, self.get(system, "half")) as mount:
            flat = os.path.join(self.get(native, "half"), IMAGE)
            if not same_data(mount.view, flat, self.place.region):
                raise RuntimeError("shows other data than the flat file")

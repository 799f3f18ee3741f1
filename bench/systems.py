# SPDX-License-Identifier: Apache-2.0
"""The systems that are compared: how each shows an image as a flat file."""

import os
import shutil

from mounts import Mount

IMAGE = "disk.img"
DATA = "disk.data"  # where add-cow puts its clusters


class System:
    """One way to show an image of a format; `role` says what it is here:

    "native" what all are compared with, "flatcow", "peer", or "qcow2": a peer
    with a format that flatcow does not have.
    """

    programs = ()
    is_flat = False  # the image holds the data of the base itself

    def __init__(self, name, role, image_format):
        self.name = name
        self.role = role
        self.format = image_format

    def missing_programs(self):
        return [p for p in self.programs if not shutil.which(p)]

    def mount(self, place, images):
        """Shows the image in the folder `images`; the result has `.view`."""
        folder = place.scratch.new_folder("mount")
        os.mkdir(os.path.join(folder, "view"))
        view = self.view_path(folder, images)
        mount = Mount(folder, self.commands(place, images, folder, view),
                      lambda: os.stat(view).st_size == place.size)
        mount.view = view
        return mount


class Native(System):
    """The plain file."""

    is_flat = True

    def view_path(self, folder, images):
        return os.path.join(images, IMAGE)

    def commands(self, place, images, folder, view):
        return []


class Flatcow(System):
    programs = ("flatcow", "flatcow-img")

    def __init__(self, name, image_format, options=(), flat=False):
        super().__init__(name, "flatcow", image_format)
        self.options = options
        self.is_flat = flat

    def view_path(self, folder, images):
        return os.path.join(folder, "view", IMAGE + ".raw")

    def commands(self, place, images, folder, view):
        return [flatcow_command(images, os.path.dirname(view),
                                ["allow=" + place.base_folder, *self.options])]


def flatcow_command(source, mountpoint, options=()):
    command = ["flatcow", "-f", source, mountpoint]
    for option in options:
        command[2:2] = ["-o", option]
    return command


def mount_folder(scratch, source, options=()):
    """All images of a folder, shown by flatcow; `.view` is the mount point."""
    folder = scratch.new_folder("mount")
    view = os.path.join(folder, "view")
    os.mkdir(view)
    here = os.stat(view).st_dev
    mount = Mount(folder, [flatcow_command(source, view, options)],
                  lambda: os.stat(view).st_dev != here)
    mount.view = view
    return mount


class QemuExport(System):
    """QEMU's own FUSE export."""

    programs = ("qemu-storage-daemon", "qemu-img")

    def view_path(self, folder, images):
        return os.path.join(folder, "view", "disk.raw")

    def commands(self, place, images, folder, view):
        open(view, "w").close()  # it is mounted on a file
        image = os.path.join(images, IMAGE)
        return [[
            "qemu-storage-daemon",
            "--blockdev", "driver=file,node-name=basefile,read-only=on,"
            "filename=" + place.base,
            "--blockdev", "driver=raw,node-name=base,read-only=on,"
            "file=basefile",
            "--blockdev", "driver=file,node-name=file,discard=unmap,"
            "filename=" + image,
            "--blockdev", "driver=%s,node-name=disk,discard=unmap,file=file,"
            "backing=base" % self.format,
            "--export", "type=fuse,id=export,node-name=disk,writable=on,"
            "growable=off,mountpoint=" + view]]


class Nbdfuse(System):
    """nbdfuse as the client of qemu-nbd."""

    programs = ("nbdfuse", "qemu-nbd", "qemu-img")

    def view_path(self, folder, images):
        return os.path.join(folder, "view", "disk.raw")

    def commands(self, place, images, folder, view):
        socket = os.path.join(folder, "socket")
        return [["qemu-nbd", "--persistent", "--shared=16", "--discard=unmap",
                 "--format=" + self.format, "--socket=" + socket,
                 os.path.join(images, IMAGE)],
                lambda: os.path.exists(socket),
                ["nbdfuse", view, "nbd+unix:///?socket=" + socket]]


NATIVE = "native"
COMPARED = [
    Native(NATIVE, "native", "raw"),
    Flatcow("flatcow-qed", "qed"),
    Flatcow("flatcow-add-cow", "add-cow"),
    Flatcow("flatcow-passthrough", "all-allocated", flat=True),
    QemuExport("qsd-qed", "peer", "qed"),
    QemuExport("qsd-qcow2", "qcow2", "qcow2"),
    Nbdfuse("nbdfuse-qed", "peer", "qed"),
]
CHAINS = [
    Flatcow("flatcow-chain1", "chain-1"),
    Flatcow("flatcow-chain16", "chain-16"),
]
SYSTEMS = {system.name: system for system in COMPARED + CHAINS}

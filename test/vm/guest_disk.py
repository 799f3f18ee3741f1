# SPDX-License-Identifier: Apache-2.0
"""What a guest boots from: a kernel of Debian's, an initramfs with the drivers
of the disk, and a partitioned disk with a small system on ext4. Nothing of it
needs root."""

import glob
import lzma
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
BUSYBOX = "/bin/busybox"
DRIVERS = ("virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
DISK_BYTES = 256 << 20
PARTITION_OFFSET = 1 << 20
BLOCK_BYTES = 4096


def run(*words, **options):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True,
                          **options).stdout


def copy_program(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copy(source, target)
    os.chmod(target, 0o755)


class Modules:
    """The modules of an unpacked kernel package."""

    def __init__(self, kernel):
        self.paths = {}
        for path in glob.glob(kernel + "/**/*.ko*", recursive=True):
            name = os.path.basename(path).split(".")[0].replace("-", "_")
            self.paths[name] = path

    def content(self, name):
        with open(self.paths[name], "rb") as file:
            content = file.read()
        return lzma.decompress(content) if content[:1] == b"\xfd" else content

    def in_order(self, names, done=()):
        """`names` and what they depend on, in the order in which to load."""
        order = list(done)
        for name in names:
            if name in order or name not in self.paths:
                continue  # part of the kernel
            needs = re.search(rb"\0depends=([^\0]*)\0", self.content(name))
            needs = needs[1].decode().replace("-", "_").split(",")
            order = self.in_order(filter(None, needs), order)
            order.append(name)
        return order


def make_initramfs(kernel, work, path):
    root = os.path.join(work, "initramfs")
    copy_program(os.path.join(HERE, "guest", "init"), root + "/init")
    copy_program(BUSYBOX, root + "/bin/busybox")
    os.makedirs(root + "/modules")
    modules = Modules(kernel)
    order = modules.in_order(DRIVERS)
    for name in order:
        with open(root + "/modules/" + name + ".ko", "wb") as file:
            file.write(modules.content(name))
    with open(root + "/modules/order", "w") as file:
        file.writelines(name + ".ko\n" for name in order)
    with open(path, "wb") as file:
        subprocess.run("find . | %s cpio -o -H newc" % BUSYBOX, shell=True,
                       check=True, cwd=root, stdout=file,
                       stderr=subprocess.DEVNULL)


def make_golden(work, path):
    """A disk with one partition. /golden has files that a guest compares with
    their checksums, so that it reads what no overlay holds."""
    root = os.path.join(work, "root")
    copy_program(os.path.join(HERE, "guest", "task"), root + "/sbin/init")
    copy_program(BUSYBOX, root + "/bin/busybox")
    os.symlink("busybox", root + "/bin/sh")
    for name in ("dev", "proc", "sys", "golden"):
        os.makedirs(os.path.join(root, name))
    for number in range(8):
        with open("%s/golden/%d" % (root, number), "wb") as file:
            file.write(os.urandom(1 << 20))
    sums = run("sha256sum", *sorted(glob.glob(root + "/golden/*")))
    with open(root + "/golden.sums", "w") as file:
        file.write(sums.replace(root, ""))
    with open(path, "wb") as file:
        file.truncate(DISK_BYTES)
    run("sfdisk", "--quiet", path,
        input="label: dos\nstart=%d, type=83\n" % (PARTITION_OFFSET // 512))
    run("mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK_BYTES), "-L", "golden",
        "-d", root, "-E", "offset=%d" % PARTITION_OFFSET, path,
        "%dk" % ((DISK_BYTES - PARTITION_OFFSET) >> 10))


class Guest:
    """`kernel` and `initramfs` for QEMU, and `golden`, the disk."""

    def __init__(self, unpacked_kernel, work):
        self.kernel = glob.glob(unpacked_kernel + "/boot/vmlinuz-*")[0]
        self.initramfs = os.path.join(work, "initramfs.cpio")
        self.golden = os.path.join(work, "golden.raw")
        make_initramfs(unpacked_kernel, work, self.initramfs)
        make_golden(work, self.golden)

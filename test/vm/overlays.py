# SPDX-License-Identifier: Apache-2.0
"""The overlays of one disk, their mount, and what the host sees in a view."""

import glob
import hashlib
import os
import subprocess
import tempfile
import time

from guest_disk import BLOCK_BYTES, PARTITION_OFFSET
from machine import TIMEOUT_SECONDS

# Name: the layer it lies on, and flatcow-img's options. They differ in what the
# daemon does for them: cluster size, layers below, an image file of a format.
OVERLAYS = {
    "a1.add-cow": ("golden.raw", "image_file=a1.data"),
    "a2.add-cow": ("golden.raw", "image_file=a2.data,cluster_size=4k"),
    "a3.add-cow": ("below.qed", "image_file=a3.data"),
    "a4.add-cow": ("golden.raw", "image_file=a4.data,image_fmt=qed"),
    "q1.qed": ("golden.raw", ""),
    "q2.qed": ("golden.raw", "cluster_size=4k,table_size=2"),
    "q3.qed": ("below.add-cow", ""),
    "q4.qed": ("golden.raw", "cluster_size=1M"),
}
LAYERS = {
    "below.qed": ("golden.raw", ""),
    "below.add-cow": ("golden.raw", "image_file=below.data"),
}


def format_of(name):
    return name.rsplit(".", 1)[1]


def output(*words):
    """What a program prints, or None when it fails."""
    done = subprocess.run(words, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, timeout=TIMEOUT_SECONDS)
    return done.stdout if done.returncode == 0 else None


def code(*words):
    """The exit code of a program, and what it printed."""
    done = subprocess.run(words, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS)
    return done.returncode, done.stdout.decode(errors="replace")


class Overlays:
    """Images in `source`, mounted on `mountpoint` by the daemon."""

    def __init__(self, flatcow, flatcow_img, golden, work):
        self.flatcow = flatcow
        self.flatcow_img = flatcow_img
        self.work = work
        self.source = os.path.join(work, "overlays")
        self.mountpoint = os.path.join(work, "disks")
        self.log = os.path.join(work, "daemon.log")
        self.daemon = None
        os.mkdir(self.source)
        os.mkdir(self.mountpoint)
        os.rename(golden, os.path.join(self.source, "golden.raw"))

    def image(self, name):
        return os.path.join(self.source, name)

    def view(self, name):
        return os.path.join(self.mountpoint, name + ".raw")

    def make(self, name):
        backing, keys = {**OVERLAYS, **LAYERS}[name]
        if backing in LAYERS and not os.path.exists(self.image(backing)):
            self.make(backing)
        options = ["-o", keys] if keys else []
        subprocess.run(
            [self.flatcow_img, "create", "-q", "-f", format_of(name), "-b",
             backing, "-F", format_of(backing), *options, self.image(name)],
            check=True)

    def mount(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [self.flatcow, "-f", self.source, self.mountpoint],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                if os.path.ismount(self.mountpoint):
                    return
            except OSError:
                pass  # the mount of a daemon that was killed
            if self.daemon.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError("the daemon did not mount:\n" + self.story())

    def unmount(self):
        """Return value: whether the daemon ended well."""
        subprocess.run(["fusermount3", "-u", self.mountpoint],
                       stderr=subprocess.DEVNULL)
        if self.daemon is None:
            return True
        try:
            return self.daemon.wait(TIMEOUT_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False

    def clean_up(self):
        """Whatever happened before."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        subprocess.run(["fusermount3", "-u", "-z", self.mountpoint],
                       stderr=subprocess.DEVNULL)

    def story(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-3000:]

    def checksum(self, name):
        with open(self.image(name), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def host_bytes(self, name):
        """What the files of an overlay occupy."""
        files = glob.glob(self.image(name.split(".")[0]) + ".*")
        return sum(os.stat(path).st_blocks * 512 for path in files)


class FileSystem:
    """The guest's file system in a view, without mounting it."""

    def __init__(self, view):
        self.device = "%s?offset=%d" % (view, PARTITION_OFFSET)

    def fsck(self):
        """Whether it is in order; the exit code and what e2fsck said."""
        result = code("e2fsck", "-f", "-n", self.device)
        return result[0] == 0, "e2fsck: %d\n%s" % result

    def recover(self):
        """As a boot after a crash does: replays the journal, and no more.
        (e2fsck -p loses the offset when it opens the device again.)"""
        return code("debugfs", "-w", "-R", "journal_run", self.device)[1]

    def read(self, path):
        return output("debugfs", "-R", "cat " + path, self.device)

    def checksums(self, paths):
        """SHA-256 of files, None of those that are not there."""
        with tempfile.TemporaryDirectory() as directory:
            commands = os.path.join(directory, "commands")
            with open(commands, "w") as file:
                file.writelines("dump %s %s/file%d\n" % (path, directory, i)
                                for i, path in enumerate(paths))
            output("debugfs", "-f", commands, self.device)
            sums = []
            for i in range(len(paths)):
                try:
                    with open("%s/file%d" % (directory, i), "rb") as file:
                        sums.append(hashlib.sha256(file.read()).hexdigest())
                except FileNotFoundError:
                    sums.append(None)
            return sums

    def ranges(self, path):
        """Where the bytes of a file are on the disk: (offset, length)."""
        runs = []
        for block in map(int, output("debugfs", "-R", "blocks " + path,
                                     self.device).split()):
            offset = PARTITION_OFFSET + block * BLOCK_BYTES
            if runs and runs[-1][0] + runs[-1][1] == offset:
                runs[-1] = runs[-1][0], runs[-1][1] + BLOCK_BYTES
            else:
                runs.append((offset, BLOCK_BYTES))
        return runs

# SPDX-License-Identifier: Apache-2.0
"""A virtual machine whose disk is a view."""

import collections
import os
import re
import subprocess
import time

TIMEOUT_SECONDS = float(os.environ.get("FLATCOW_VM_TIMEOUT", "300"))
QEMU = "qemu-system-x86_64"

# How QEMU opens the view.
Mode = collections.namedtuple("Mode", "cache aio")


def has_io_uring(path):
    """Whether QEMU was built with it, and the kernel permits it."""
    return subprocess.run(
        ["qemu-io", "-f", "raw", "-i", "io_uring", "-r", "-c", "read 0 512",
         path], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL).returncode == 0


class Machine:
    """Starts at once. What the guest says is in the file of its console."""

    # Not KVM by itself: inside another virtual machine it may be there and be of
    # no use.
    accelerator = os.environ.get("FLATCOW_VM_ACCEL", "tcg")
    boots = 0
    running = set()
    stopped = False  # no more of them

    @staticmethod
    def stop():
        """For the end of all, whatever goes on."""
        Machine.stopped = True
        Machine.kill_all()

    def __init__(self, guest, view, mode, directory, *tasks):
        view_name = os.path.basename(view)
        tasks = ",".join(tasks)
        self.name = "%s, cache=%s, aio=%s, %s" % (view_name, mode.cache,
                                                  mode.aio, tasks)
        stem = os.path.join(directory, "%s-%d" % (view_name,
                                                  time.monotonic_ns()))
        self.console_path = stem + ".console"
        self.error_path = stem + ".stderr"
        self.qmp_path = os.path.join(directory, "%x" % time.monotonic_ns())
        command = [
            QEMU, "-accel", Machine.accelerator, "-M", "q35", "-m", "192",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", "file:" + self.console_path,
            "-qmp", "unix:%s,server=on,wait=off" % self.qmp_path,
            "-kernel", guest.kernel, "-initrd", guest.initramfs,
            "-append", "console=ttyS0 quiet panic=-1 "
            "no_timer_check task=" + tasks,
            "-drive", "file=%s,format=raw,if=virtio,cache=%s,aio=%s,"
            "discard=unmap" % (view.replace(",", ",,"), mode.cache, mode.aio)
        ]
        if "twice:" not in tasks:  # then it starts again
            command.append("-no-reboot")
        if Machine.stopped:
            raise RuntimeError("stopped")
        with open(self.error_path, "wb") as error:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=error, stderr=error)
        Machine.running.add(self)

    @staticmethod
    def kill_all():
        for guest in list(Machine.running):
            guest.kill()

    def said(self):
        """What the guest has said, line by line, without the first word."""
        try:
            with open(self.console_path, errors="replace") as console:
                return re.findall(r"^GUEST (.*?)\r*\n", console.read(), re.M)
        except FileNotFoundError:
            return []

    def errors(self):
        with open(self.error_path, errors="replace") as file:
            return file.read()

    def story(self):
        """For a report of a failure."""
        console = ""
        if os.path.exists(self.console_path):
            with open(self.console_path, errors="replace") as file:
                console = file.read()[-3000:]
        return "%s\n%s\n%s" % (self.name, console, self.errors())

    def wait(self):
        """Until QEMU ends. Return value: whether it ended well and in time."""
        try:
            ended = self.process.wait(TIMEOUT_SECONDS) == 0
        except subprocess.TimeoutExpired:
            ended = False
            self.process.kill()
            self.process.wait()
        self._ended()
        return ended and not any(l.startswith("failed") for l in self.said())

    def wait_until_said(self, count, pattern):
        """Until so many lines of the guest match, in time and while it runs."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if sum(bool(re.match(pattern, l)) for l in self.said()) >= count:
                return True
            time.sleep(0.05)
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._ended()

    def _ended(self):
        if self not in Machine.running:
            return
        Machine.running.discard(self)
        Machine.boots += self.said().count("boot")

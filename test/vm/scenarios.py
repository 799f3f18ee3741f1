# SPDX-License-Identifier: Apache-2.0
"""What guests do with the views of overlays, and what must be true behind it.
Each scenario takes the bench, the name of an overlay and how QEMU opens it."""

import os
import random
import re
import subprocess
import tempfile
import time

from guest_disk import PARTITION_OFFSET
from machine import Machine
from overlays import FileSystem, code, output

DATA_BYTES = 8 << 20  # of the tasks "write" and "twice"
CLUSTER_BYTES = 64 << 10  # whole ones of these are looked for in a map
SYNCED_FILES = 40  # before a guest is killed
KEPT_FILES = 200  # a guest under load removes older ones


class Bench:
    """What every scenario needs."""

    def __init__(self, guest, overlays, tally, work):
        self.guest = guest
        self.overlays = overlays
        self.tally = tally
        self.consoles = os.path.join(work, "consoles")
        os.mkdir(self.consoles)

    def start(self, name, mode, task, token=""):
        return Machine(self.guest, self.overlays.view(name), mode,
                       self.consoles, task, token)

    def boot(self, name, mode, task, token, last_words):
        """A guest from boot to power off. Return value: its last line."""
        guest = self.start(name, mode, task, token)
        good = guest.wait()
        said = guest.said()
        last = said[-1] if said else ""
        self.tally.check(good and last.startswith(last_words), guest.name,
                         guest.story)
        return last

    def check_file_system(self, name, when):
        good, story = FileSystem(self.overlays.view(name)).fsck()
        self.tally.check(good, "%s: the file system %s" % (name, when), story)

    def check_token(self, name, token, checksum):
        """The host finds what the guest has written."""
        disk = FileSystem(self.overlays.view(name))
        marker = disk.read("/marker-" + token)
        self.tally.check(marker == (token + "\n").encode(),
                         "%s: the marker %s" % (name, token), repr(marker))
        self.tally.check(disk.checksums(["/data-" + token]) == [checksum],
                         "%s: the data of %s" % (name, token))


def new_token(name, mode):
    return "%s-%s-%s-%08x" % (name, mode.cache, mode.aio,
                              random.getrandbits(32))


def write(bench, name, mode, task="write"):
    """One boot writes; with "twice" it resets and looks. Return value: the
    token of what is there now."""
    token = new_token(name, mode)
    guest = bench.start(name, mode, task, token)
    good = guest.wait()
    wrote = [l.split()[1] for l in guest.said() if l.startswith("wrote ")]
    expected = task == "write" or "found " + token in guest.said()
    if bench.tally.check(good and expected and len(wrote) == 1, guest.name,
                         guest.story):
        bench.check_file_system(name, "after " + task)
        bench.check_token(name, token, wrote[0])
    return token


def use(bench, name, modes):
    """Every mode writes, through a reset for the first; every boot sees what
    the one before has left."""
    before = None
    for mode in modes:
        if before:
            bench.boot(name, mode, "check", before, "found ")
        before = write(bench, name, mode, "write" if before else "twice")
    bench.boot(name, modes[0], "check", before, "found ")


def refuse_another(bench, name, mode):
    """QEMU's locks work on views: there is one machine for each."""
    second = bench.start(name, mode, "check")
    good = second.wait()
    bench.tally.check(
        not good and '"write" lock' in second.errors() and not second.said(),
        "a second QEMU is refused: " + second.name, second.story)
    status, said = code(bench.overlays.flatcow_img, "resize",
                        bench.overlays.image(name), "+1M")
    bench.tally.check(status == 1 and "lock" in said,
                      name + ": flatcow-img is refused", said)


def crash(bench, name, mode, kill_daemon=False):
    """kill -9 of QEMU, or of it and the daemon, while the guest writes: what it
    has synced is there, and the disk goes on. Return value: the token of what
    is there."""
    token = write(bench, name, mode)
    guest = bench.start(name, mode, "load")
    ready = guest.wait_until_said(SYNCED_FILES, "synced ")
    bench.tally.check(ready, guest.name, guest.story)
    if not kill_daemon:
        refuse_another(bench, name, mode)
    time.sleep(random.random())
    if kill_daemon:
        bench.overlays.daemon.kill()
        bench.overlays.daemon.wait()
    guest.kill()
    if kill_daemon:
        bench.overlays.mount()
    disk = FileSystem(bench.overlays.view(name))
    disk.recover()
    bench.check_file_system(name, "behind the journal of " + guest.name)
    check_synced(bench, name, disk, guest)
    bench.boot(name, mode, "check", token, "found ")
    return token


def check_synced(bench, name, disk, guest):
    synced = [l.split()[1:] for l in guest.said()
              if re.fullmatch(r"synced \d+ [0-9a-f]{64}", l)]
    synced = synced[-KEPT_FILES:]
    found = disk.checksums(["/load/" + number for number, _ in synced])
    lost = [number for (number, checksum), there in zip(synced, found)
            if there != checksum]
    bench.tally.count("synced files", len(synced))
    bench.tally.count("lost", len(lost))
    bench.tally.check(synced and not lost, "%s: synced files, %s lost of %d" %
                      (name, lost, len(synced)), guest.story)


def trim(bench, name, mode):
    """What a guest trims reads as zeroes, and the host has its space back."""
    overlays = bench.overlays
    token = write(bench, name, mode)
    keep = write(bench, name, mode)
    ranges = FileSystem(overlays.view(name)).ranges("/data-" + token)
    full = overlays.host_bytes(name)
    bench.boot(name, mode, "trim", token, "trimmed ")
    bench.check_file_system(name, "after fstrim")
    zeroes = [(r["start"], r["start"] + r["length"])
              for r in overlays.map(name) if r["zero"]]
    whole = [(-(-start // CLUSTER_BYTES) * CLUSTER_BYTES,
              (start + length) // CLUSTER_BYTES * CLUSTER_BYTES)
             for start, length in ranges]
    whole = [(start, end) for start, end in whole if start < end]
    bench.tally.check(
        sum(end - start for start, end in whole) > DATA_BYTES // 2 and
        all(covered(start, end, zeroes) for start, end in whole),
        name + ": the map shows what was trimmed as zeroes",
        lambda: "trimmed %s\nzero %s" % (whole, zeroes))
    bench.tally.check(all(reads_as_zeroes(overlays.view(name), start, length)
                          for start, length in ranges),
                      name + ": what was trimmed reads as zeroes")
    trimmed = overlays.host_bytes(name)
    bench.tally.check(trimmed <= full - DATA_BYTES // 2,
                      "%s: space comes back, %d of %d bytes are left" %
                      (name, trimmed, full))
    bench.boot(name, mode, "churn", "", "churned")
    churned = overlays.host_bytes(name)
    bench.tally.check(churned <= trimmed + DATA_BYTES,
                      "%s: space does not grow, from %d to %d bytes" %
                      (name, trimmed, churned))
    bench.boot(name, mode, "check", keep, "found ")


def covered(start, end, ranges):
    """Whether sorted `ranges` that may touch each other hold all of it."""
    for first, last in ranges:
        if first <= start < last:
            start = last
    return start >= end


def reads_as_zeroes(view, start, length):
    with open(view, "rb") as file:
        file.seek(start)
        return file.read(length) == bytes(length)


def loop(bench, name, token):
    """The partition on a loop device, as root has it."""
    view = bench.overlays.view(name)
    with tempfile.TemporaryDirectory() as directory:
        device = output("losetup", "--find", "--show", "--read-only",
                        "--offset", str(PARTITION_OFFSET), view)
        if not bench.tally.check(device is not None, name + ": losetup"):
            return
        device = device.decode().strip()
        try:
            mounted = code("mount", "-o", "ro", device, directory)
            bench.tally.check(mounted[0] == 0, name + ": mount of a partition",
                              mounted[1])
            marker = output("cat", directory + "/marker-" + token)
            bench.tally.check(marker == (token + "\n").encode(),
                              name + ": the marker through a loop device",
                              repr(marker))
        finally:
            subprocess.run(["umount", directory], stderr=subprocess.DEVNULL)
            subprocess.run(["losetup", "--detach", device])


def finish(bench, names, golden):
    """Without the daemon: the images are in order, and the disk below them is
    what it was."""
    overlays, tally = bench.overlays, bench.tally
    tally.check(overlays.unmount(), "the daemon ends well", overlays.story)
    for name in names:
        status, said = code(overlays.flatcow_img, "check", overlays.image(name))
        tally.check(status == 0, "flatcow-img check " + name, said)
        if name.endswith(".qed"):
            status, said = code("qemu-img", "check", "-f", "qed",
                                overlays.image(name))
            tally.check(status == 0, "qemu-img check " + name, said)
    tally.check(overlays.checksum("golden.raw") == golden,
                "golden.raw is what it was")

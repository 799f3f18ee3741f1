# SPDX-License-Identifier: Apache-2.0
"""What guests do with the views of overlays, and what must be true behind it.
Each scenario takes the bench, the name of an overlay and how QEMU opens it."""

import concurrent.futures
import os
import random
import re
import signal
import subprocess
import tempfile
import time

from guest_disk import PARTITION_OFFSET
from machine import TIMEOUT_SECONDS, Machine
from overlays import FileSystem, code, output
from qmp import Qmp

DATA_BYTES = 8 << 20  # of the task "write"
SYNCED_FILES = 40  # before a guest is killed
LEAKS = 3  # exit code of a check
KEPT_FILES = 200  # a guest under load removes older ones


class Bench:
    """What every scenario needs."""

    def __init__(self, guest, overlays, tally, work):
        self.guest = guest
        self.overlays = overlays
        self.tally = tally
        self.killed = False  # the daemon was
        self.consoles = os.path.join(work, "consoles")
        os.mkdir(self.consoles)

    def at_once(self, scenario, turns):
        """Runs it for each turn, two side by side. Return value: what it gave,
        None where it failed."""
        results = []
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(scenario, self, *t) for t in turns]:
                error = future.exception()
                self.tally.check(error is None, "no exception: %r" % error)
                results.append(None if error else future.result())
        return results

    def start(self, name, mode, *tasks):
        return Machine(self.guest, self.overlays.view(name), mode,
                       self.consoles, *tasks)

    def boot(self, name, mode, *tasks):
        """A guest that does its tasks and powers off. Return value: it."""
        guest = self.start(name, mode, *tasks)
        self.tally.check(guest.wait(), guest.name, guest.story)
        self.check_file_system(name, "after " + guest.name)
        return guest

    def check_file_system(self, name, when):
        good, story = FileSystem(self.overlays.view(name)).fsck()
        self.tally.check(good, "%s: the file system %s" % (name, when), story)

    def check_written(self, name, guest):
        """The host finds what the guest says it has written."""
        wrote = [l.split()[1:] for l in guest.said() if l.startswith("wrote ")]
        self.tally.check(wrote, guest.name + ": has written", guest.story)
        disk = FileSystem(self.overlays.view(name))
        for checksum, data in wrote:
            token = data.removeprefix("data-")
            marker = disk.read("/marker-" + token)
            self.tally.check(marker == (token + "\n").encode(),
                             "%s: the marker %s" % (name, token), repr(marker))
            self.tally.check(disk.checksums(["/" + data]) == [checksum],
                             "%s: the data of %s" % (name, token))


def new_token():
    return "%016x" % random.getrandbits(64)


def use(bench, name, modes):
    """Every mode writes, the first through a reset; every boot sees what the
    one before has left."""
    before = new_token()
    bench.check_written(name, bench.boot(name, modes[0], "twice:" + before))
    for mode in modes[1:]:
        token = new_token()
        bench.check_written(name, bench.boot(
            name, mode, "check:" + before, "write:" + token))
        before = token
    bench.boot(name, modes[0], "check:" + before)


def refuse_another(bench, name, mode):
    """QEMU's locks work on views: there is one machine for each."""
    second = bench.start(name, mode)
    good = second.wait()
    bench.tally.check(
        not good and '"write" lock' in second.errors() and not second.said(),
        "a second QEMU is refused: " + second.name, second.story)
    status, said = code(bench.overlays.flatcow_img, "resize",
                        bench.overlays.image(name), "+1M")
    bench.tally.check(status == 1 and "lock" in said,
                      name + ": flatcow-img is refused", said)


def start_load(bench, name, mode):
    """Return value: a token that is there, and a guest that writes."""
    token = new_token()
    guest = bench.start(name, mode, "write:" + token, "load")
    bench.tally.check(guest.wait_until_said(SYNCED_FILES, "synced "),
                      guest.name, guest.story)
    return token, guest


def look_after_crash(bench, name, mode, token, guest):
    """What was synced is there, and the disk goes on."""
    disk = FileSystem(bench.overlays.view(name))
    disk.recover()
    bench.check_file_system(name, "behind the journal of " + guest.name)
    bench.check_written(name, guest)
    check_synced(bench, name, disk, guest.said(), guest)
    bench.boot(name, mode, "check:" + token)


def check_synced(bench, name, disk, said, guest):
    """What the guest had said by then is in the file system."""
    synced = [l.split()[1:] for l in said
              if re.fullmatch(r"synced \d+ [0-9a-f]{64}", l)]
    synced = synced[-KEPT_FILES:]
    found = disk.checksums(["/load/" + number for number, _ in synced])
    lost = [number for (number, checksum), there in zip(synced, found)
            if there != checksum]
    bench.tally.count("synced files", len(synced))
    bench.tally.count("lost", len(lost))
    bench.tally.check(synced and not lost, "%s: synced files, %s lost of %d" %
                      (name, lost, len(synced)), guest.story)


def kill_machine(bench, name, mode):
    """kill -9 of QEMU while the guest writes. Return value: the token of what
    is there."""
    token, guest = start_load(bench, name, mode)
    refuse_another(bench, name, mode)
    time.sleep(random.random())
    guest.kill()
    bench.tally.check(guest.process.returncode == -signal.SIGKILL,
                      guest.name + ": ran until it was killed", guest.story)
    look_after_crash(bench, name, mode, token, guest)
    return token


def back_up(bench, name, mode):
    """QEMU copies one moment of a disk while its guest writes: what was synced
    before is in the copy."""
    _, guest = start_load(bench, name, mode)
    before = guest.said()
    copy = os.path.join(bench.overlays.work, name + ".copy")
    try:
        monitor = Qmp(guest.qmp_path, TIMEOUT_SECONDS)
        monitor.run("drive-backup", device="virtio0", target=copy,
                    format="raw", sync="full", **{"job-id": "copy"})
        job = monitor.wait_for("BLOCK_JOB_COMPLETED")
        monitor.close()
    finally:
        guest.kill()
    bench.tally.check("error" not in job, name + ": drive-backup", str(job))
    disk = FileSystem(copy)
    disk.recover()
    good, story = disk.fsck()
    bench.tally.check(good, name + ": the file system of the copy", story)
    check_synced(bench, name, disk, before, guest)


def kill_daemon(bench, turns):
    """kill -9 of the daemon while guests write, and of these behind it."""
    loads = bench.at_once(start_load, turns)
    time.sleep(random.random())
    bench.killed = True
    bench.overlays.daemon.kill()
    bench.overlays.daemon.wait()
    Machine.kill_all()
    bench.overlays.mount()
    bench.at_once(look_after_crash,
                  [(*turn, *load) for turn, load in zip(turns, loads) if load])


def trim(bench, name, mode):
    """What a guest trims reads as zeroes, and the host has its space back."""
    overlays = bench.overlays
    token, keep = new_token(), new_token()
    bench.check_written(name, bench.boot(name, mode, "write:" + token,
                                         "write:" + keep))
    ranges = FileSystem(overlays.view(name)).ranges("/data-" + token)
    bench.tally.check(sum(length for _, length in ranges) >= DATA_BYTES,
                      name + ": where the data is")
    full = overlays.host_bytes(name)
    bench.boot(name, mode, "trim:" + token)
    bench.tally.check(all(reads_as_zeroes(overlays.view(name), start, length)
                          for start, length in ranges),
                      name + ": what was trimmed reads as zeroes")
    trimmed = overlays.host_bytes(name)
    bench.tally.check(trimmed <= full - DATA_BYTES // 2,
                      "%s: space comes back, %d of %d bytes are left" %
                      (name, trimmed, full))
    bench.boot(name, mode, "churn", "check:" + keep)
    churned = overlays.host_bytes(name)
    bench.tally.check(churned <= trimmed + DATA_BYTES,
                      "%s: space does not grow, from %d to %d bytes" %
                      (name, trimmed, churned))


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
    what it was. A daemon that was killed may leave leaks in a QED image."""
    overlays, tally = bench.overlays, bench.tally
    tally.check(overlays.unmount(), "the daemon ends well", overlays.story)
    for name in names:
        is_qed = name.endswith(".qed")
        good = (0, LEAKS) if is_qed and bench.killed else (0,)
        status, said = code(overlays.flatcow_img, "check", overlays.image(name))
        tally.check(status in good, "flatcow-img check " + name, said)
        if is_qed:
            tally.count("leaky images", status == LEAKS)
            status, said = code("qemu-img", "check", "-f", "qed",
                                overlays.image(name))
            tally.check(status in good, "qemu-img check " + name, said)
    tally.check(overlays.checksum("golden.raw") == golden,
                "golden.raw is what it was")

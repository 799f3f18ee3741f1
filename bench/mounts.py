# SPDX-License-Identifier: Apache-2.0
"""Programs that show an image as a file, from their start to their end."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

START_LIMIT = 30  # seconds
STOP_LIMIT = 10


class Mount:
    """Starts programs in the foreground and waits until `ready()`.

    `with` ends them whatever happens. They get a session of their own, so that
    Ctrl-C reaches the harness alone, which then stops them in order; and a
    signal for when it is killed.
    """

    def __init__(self, folder, commands, ready):
        self.folder = folder
        self.processes = []
        self.log_path = os.path.join(folder, "log")
        start = time.perf_counter()
        try:
            for command in commands:
                self.start(command)
            self.wait_until(ready)
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.perf_counter() - start

    def start(self, command):
        if callable(command):  # something the next program needs
            self.wait_until(command)
            return
        with open(self.log_path, "ab") as log:
            self.processes.append(subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True))

    def wait_until(self, ready):
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                if ready():
                    return
            except OSError:
                pass
            ended = any(p.poll() is not None for p in self.processes)
            if ended or time.monotonic() > limit:
                with open(self.log_path, errors="replace") as log:
                    raise RuntimeError("does not start: " + log.read()[-300:])
            time.sleep(0.0002)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        unmount_below(self.folder)
        for process in reversed(self.processes):
            for end in (None, signal.SIGTERM, signal.SIGKILL):
                if end:
                    process.send_signal(end)
                try:
                    # qemu-nbd would serve for ever: give it no time at first.
                    process.wait(STOP_LIMIT if end else 0.3)
                    break
                except subprocess.TimeoutExpired:
                    pass
        self.processes = []


def unmount_below(folder):
    with open("/proc/self/mounts") as mounts:
        places = [line.split()[1] for line in mounts]
    for place in reversed(places):
        if not place.startswith(folder + "/"):
            continue
        for how in ([], [], ["-l"]):
            if subprocess.run(["umount", *how, place],
                              stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.2)


class Scratch:
    """A directory that is gone in the end, with all that is mounted in it."""

    def __init__(self, parent):
        self.path = tempfile.mkdtemp(prefix="flatcow-bench.", dir=parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        unmount_below(self.path)
        shutil.rmtree(self.path, onerror=self.complain)

    def complain(self, _, path, error):
        print("bench: left behind: %s: %s" % (path, error[1]), file=sys.stderr)

    def folder(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def new_folder(self, name):
        path = os.path.join(self.path, name)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

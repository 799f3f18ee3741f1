# SPDX-License-Identifier: Apache-2.0
"""One run of a program from its start to its end: what it took."""

import collections
import ctypes
import os
import signal
import subprocess
import time

# Seconds of wall time and of CPU, MiB at its peak, what it exited with.
Cost = collections.namedtuple("Cost", "seconds cpu rss_mib status")

SET_CHILD_SUBREAPER = 36  # prctl()
ERROR_LENGTH = 300


def adopt_orphans():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def start(command, output, errors):
    """The id of a process that becomes a child of this one.

    The peak that the kernel keeps for a process begins with that of the
    process it was forked from, and this one may be larger than what is
    measured. So a shell starts it and leaves it behind, by exec: a shell that
    goes on would take the status of a child that ends early.
    """
    adopt_orphans()
    script = 'o=$1 e=$2; shift 2; "$@" >"$o" 2>"$e" & exec echo $!'
    return int(subprocess.run(
        ["sh", "-c", script, "sh", output, errors, *command], check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout)


def sync_file(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def timed(folder, command, written=(), output=os.devnull, good=(0,)):
    """Runs a command whose standard output goes to the file `output`. The
    clock stops when the files `written` have reached their disk."""
    errors = os.path.join(folder, "errors")
    begin = time.perf_counter()
    process = start(command, output, errors)
    try:
        _, status, usage = os.wait4(process, 0)
    except BaseException:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise
    for path in written:
        sync_file(path)
    seconds = time.perf_counter() - begin
    status = os.waitstatus_to_exitcode(status)
    if status not in good:
        with open(errors, errors="replace") as file:
            raise RuntimeError("%s: exit code %d: %s" % (
                " ".join(command[:2]), status,
                file.read().strip()[-ERROR_LENGTH:]))
    return Cost(seconds, usage.ru_utime + usage.ru_stime,
                usage.ru_maxrss / 1024, status)

# SPDX-License-Identifier: Apache-2.0
"""What the harness asks of the machine: caches, memory, CPU time, versions."""

import mmap
import os
import re
import subprocess

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def run(*command):
    """Runs a command and returns its output; its complaint is the error."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError("%s: %s" % (command[0], done.stderr.strip()[-300:]))
    return done.stdout


def drop_caches():
    """Makes all files cold, on a disk; files on tmpfs are never cold."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def touch_memory(size):
    """Uses as much memory as what follows will.

    In a virtual machine the first use of a page may cost the host a fault of
    its own, dearer than all that is to be measured; and what has been free for
    a while may have gone back to the host. So: last thing before the clock.
    """
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS |
                   mmap.MAP_POPULATE):
        pass


def warm(path, size):
    """Brings the beginning of a file into the kernel's cache."""
    buffer = bytearray(MIB)
    with open(path, "rb", buffering=0) as file:
        for _ in range(size // MIB):
            if not file.readinto(buffer):
                break


def aligned_buffer(size):
    return mmap.mmap(-1, size)


def cpu_seconds(processes):
    """CPU time of the processes so far, all threads, also those that ended."""
    ticks = 0
    for process in processes:
        with open("/proc/%d/stat" % process.pid) as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_SECOND


def rss_mib(processes, key="VmRSS"):
    """Resident memory now; key VmHWM: the most there has been."""
    kib = 0
    for process in processes:
        with open("/proc/%d/status" % process.pid) as file:
            kib += int(re.search(key + r":\s+(\d+)", file.read())[1])
    return kib / 1024


def meminfo(key):
    with open("/proc/meminfo") as file:
        return int(re.search(key + r":\s+(\d+)", file.read())[1]) * KIB


def file_system_of(directory):
    return run("df", "--output=fstype", directory).split()[-1]


def version_of(*command):
    try:
        return re.search(r"\d+\.[\d.]*\d", run(*command))[0]
    except (OSError, RuntimeError, TypeError):
        return "none"


def revision_of(source):
    try:
        return run("git", "-C", source, "describe", "--always", "--tags",
                   "--dirty").strip()
    except (OSError, RuntimeError):
        return "unknown"


def versions(source):
    """What the numbers depend on, and can be found out."""
    return {
        "flatcow": revision_of(source),
        "kernel": os.uname().release.partition("-")[0],
        "libfuse": version_of("fusermount3", "--version"),
        "QEMU": version_of("qemu-storage-daemon", "--version"),
        "nbdfuse": version_of("nbdfuse", "--version"),
        "fio": version_of("fio", "--version"),
        "CPUs": os.cpu_count(),
        "GiB of memory": round(meminfo("MemTotal") / GIB),
    }

# SPDX-License-Identifier: Apache-2.0
"""File systems of a chosen kind, each in a file on the disk."""

import os

from machine import run

MAKE = {
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
    # Nothing that is still to be initialized while the clock runs.
    "ext4": ["mkfs.ext4", "-q", "-F", "-E",
             "lazy_itable_init=0,lazy_journal_init=0"],
}


def mount_new(scratch, kind, size):
    """The folder where a new file system of the kind is mounted, until the end
    of `scratch`. What it holds is cached once, not also in the file below."""
    file_name = os.path.join(scratch.path, kind + ".disk")
    with open(file_name, "wb") as file:
        file.truncate(size)
    run(*MAKE[kind], file_name)
    device = run("losetup", "--find", "--show", "--direct-io=on",
                 file_name).strip()
    folder = scratch.new_folder(kind)
    try:
        run("mount", device, folder)
    finally:
        run("losetup", "--detach", device)  # as soon as it is unmounted
    return folder

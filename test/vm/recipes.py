#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the recipes of flatcow-recipes(7), as the page has them: the commands
of its literal blocks, which begin with "$ ", or "# " for root, and go on with
"> ". The other lines are what the command before prints.

Comments of the page, which a reader does not see, go along with them:

  .\\" not run           the next block is not run
  .\\" needs partitions  it is where the kernel finds partitions on loop devices
  .\\" check COMMAND     runs, too, to see that the recipe did what it says

Among these, "closed IMAGE" waits until the daemon has closed an image, which is
a little after the last close of its view.

All is run in one directory, where images/golden.raw is a disk with a partition.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from guest_disk import make_golden

TIMEOUT_SECONDS = 300


class Command:

    def __init__(self, text, root=False, shown=True):
        self.text = text
        self.root = root
        self.shown = shown  # in the page, and so is its output
        self.partitions = False
        self.output = ""


def commands_of(page):
    """In the order of the page, and how many blocks are not run."""
    commands, skipped = [], 0
    inside, run, partitions = False, True, False
    for line in page.replace("\\e\n    ", "").splitlines():
        line = line.replace("\\e", "\\").replace("\\-", "-").replace("\\&", "")
        if comment := re.match(r'\.\\" check (.*)', line):
            commands.append(Command(comment[1], shown=False))
        elif line.startswith('.\\" not run'):
            run = False
        elif line == '.\\" needs partitions':
            partitions = True
        elif line.startswith(".Bd -literal"):
            inside = True
        elif line == ".Ed":
            skipped += not run
            inside, run, partitions = False, True, False
        elif inside and run:
            if line.startswith(("$ ", "# ")):
                commands.append(Command(line[2:], root=line[0] == "#"))
                commands[-1].partitions = partitions
            elif line.startswith("> "):
                commands[-1].text += "\n" + line[2:]
            else:
                commands[-1].output += line + "\n"
    return commands, skipped


class Shell:
    """What a recipe needs of its surroundings."""

    def __init__(self, programs, work):
        self.work = work
        self.environment = dict(os.environ, RESTIC_PASSWORD="secret",
                                RESTIC_CACHE_DIR=work + "/cache", LC_ALL="C",
                                PATH=work + "/bin:" + programs + ":" +
                                os.environ["PATH"])
        os.mkdir(work + "/bin")
        # Opens the view as the page says, and ends.
        self.make_program(
            "qemu-system-x86_64", 'echo quit | %s "$@" -nodefaults -S '
            '-display none -monitor stdio >/dev/null' %
            shutil.which("qemu-system-x86_64"))
        self.make_program(
            "closed", 'until flatcow-img check -q -r leaks "$1" 2>/dev/null\n'
            'do sleep 0.1; done')

    def make_program(self, name, text):
        path = os.path.join(self.work, "bin", name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(path, 0o755)

    def run(self, text):
        """The exit code, and what it printed. A command may set a variable."""
        variable = re.match(r"(\w+)=", text)
        if variable:
            text += "\necho ${%s}" % variable[1]
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text], cwd=self.work,
            env=self.environment, timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        printed = done.stdout.decode(errors="replace")
        if variable:
            self.environment[variable[1]], printed = printed.strip(), ""
        return done.returncode, printed

    def has_partitions(self):
        return self.run("""
            loop=$(losetup --find --show --partscan -r images/golden.raw)
            sleep 0.5
            result=0
            test -b ${loop}p1 || result=1
            losetup --detach $loop
            exit $result""")[0] == 0

    def clean_up(self):
        """Lets go of all that a recipe may have left."""
        self.run("kill $(cat writer)")
        devices = subprocess.run(["losetup", "-nl", "-O", "NAME,BACK-FILE"],
                                 stdout=subprocess.PIPE, text=True).stdout
        for device in devices.splitlines():
            if self.work in device:
                subprocess.run(["losetup", "-d", device.split()[0]])
        for point in ("guest", "look", "disks"):
            path = os.path.join(self.work, point)
            for _ in range(2):
                subprocess.run(["umount", "-l", path],
                               stderr=subprocess.DEVNULL)
                subprocess.run(["fusermount3", "-uz", path],
                               stderr=subprocess.DEVNULL)


def run_all(shell, commands):
    """Counts of commands that were run, checked, not possible, and failed."""
    partitions = os.geteuid() == 0 and shell.has_partitions()
    counts = dict(run=0, checked=0, impossible=0, failed=0)
    for command in commands:
        if command.root and os.geteuid() != 0 or (
                command.partitions and not partitions):
            counts["impossible"] += 1
            print("not possible here: " + command.text)
            continue
        counts["run" if command.shown else "checked"] += 1
        status, printed = shell.run(command.text)
        if status != 0 or (command.output and printed != command.output):
            counts["failed"] += 1
            print("failed (%d): %s\n%s" % (status, command.text, printed))
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--flatcow", required=True)
    parser.add_argument("--flatcow-img", required=True)
    parser.add_argument("page")
    options = parser.parse_args()
    with open(options.page) as file:
        commands, skipped = commands_of(file.read())
    programs = ":".join(os.path.dirname(os.path.abspath(path))
                        for path in (options.flatcow, options.flatcow_img))
    work = tempfile.mkdtemp(prefix="flatcow-recipes.",
                            dir=os.environ.get("TMPDIR", "/var/tmp"))
    shell = Shell(programs, work)
    try:
        os.mkdir(work + "/images")
        make_golden(work + "/images/tree", work + "/images/golden.raw")
        shutil.rmtree(work + "/images/tree")
        counts = run_all(shell, commands)
    finally:
        shell.clean_up()
        shutil.rmtree(work)
    print("recipes: %d commands run, %d checks, %d not possible here, "
          "%d failures; %d blocks of other programs not run" %
          (counts["run"], counts["checked"], counts["impossible"],
           counts["failed"], skipped))
    sys.exit(bool(counts["failed"]) or not counts["run"])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Stands in qemu-img's place in QEMU's tests and calls flatcow-img.

What flatcow-img leaves out by design goes to the real qemu-img; each call adds
a line to the file FLATCOW_CALLS, which run.py counts. What differs by design
is translated, and nothing else: a reason stands beside each translation.
"""

import os
import re
import subprocess
import sys

VERBS = {"amend", "check", "commit", "compare", "convert", "create", "info",
         "map", "measure", "rebase", "resize"}
FORMATS = {"qed", "raw"}
HEAD_BYTES = 4096

# What flatcow-img writes to stderr, and qemu-img's words for the same.
WORDINGS = [
    # The verb is in front of every message.
    (r"^flatcow-img: (?:[a-z]+: )?", r"qemu-img: "),
    # Errors are one line, and name the operation that failed.
    (r": backing file '(.*)': \1: open: (.*)",
     r": Could not open '\1': \2\nCould not open backing image."),
    (r"^qemu-img: .*: backing file '(.*)': \1: stands twice in the chain.*",
     r"qemu-img: Backing file '\1' creates an infinite loop."),
]


def describes_graph(word):
    """Whether this is a description of a block device graph, or an image on
    one. That is QEMU's language; flatcow knows names of files only."""
    if word == "--image-opts" or word.startswith("json:"):
        return True
    if not os.path.isfile(word):
        return False
    with open(word, "rb") as file:
        return b"json:{" in file.read(HEAD_BYTES)


def is_for_flatcow(words):
    formats = [value for option, value in zip(words, words[1:])
               if option in ("-f", "-F", "-O")]
    return (words[:1] and words[0] in VERBS and FORMATS.issuperset(formats)
            and not any(describes_graph(word) for word in words))


def plain_name(word):
    """QEMU's names can begin with a protocol; flatcow's are file names."""
    if not word.startswith("file:"):
        return word
    name = word[len("file:"):]
    return name if name.startswith("/") else "./" + name


def translate_formatting(line, given, plain):
    """What create prints of the names and the size it was given."""
    for word, name in zip(given, plain):
        line = line.replace("'%s'" % name, "'%s'" % word)
    # flatcow-img says how large the disk is: QED's is rounded up to sectors.
    if given[-1].isdigit():
        line = re.sub(r" size=\d+", " size=" + given[-1], line, count=1)
    return line


def call_flatcow(verb, given):
    plain = [plain_name(word) for word in given]
    command = [os.environ["FLATCOW_IMG"], verb] + plain
    # An existing file is overwritten only when asked to; -n writes into one.
    if verb in ("convert", "create") and "-n" not in given:
        command.insert(2, "--force")
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    output, errors = os.fsdecode(done.stdout), os.fsdecode(done.stderr)
    if verb == "create" and given:
        output = translate_formatting(output, given, plain)
    for pattern, wording in WORDINGS:
        errors = re.sub(pattern, wording, errors, flags=re.MULTILINE)
    sys.stdout.buffer.write(os.fsencode(output))
    sys.stdout.flush()
    sys.stderr.buffer.write(os.fsencode(errors))
    return done.returncode


def main():
    words = sys.argv[1:]
    tool = "flatcow-img" if is_for_flatcow(words) else "qemu-img"
    with open(os.environ["FLATCOW_CALLS"], "a") as calls:
        calls.write("%s %s\n" % (tool, " ".join(" ".join(words).split())))
    if tool == "qemu-img":
        os.execv(os.environ["FLATCOW_QEMU_IMG"], ["qemu-img"] + words)
    return call_flatcow(words[0], words[1:])


if __name__ == "__main__":
    sys.exit(main())

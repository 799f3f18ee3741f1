# SPDX-License-Identifier: Apache-2.0
"""The tests of QEMU's suite for QED that need no virtual machine."""

# All of these pass with qemu-img.
TESTS = """
001 002 003 004 005 008 009 010 011 012 017 018 019 020 021 024 025 027 032 033
034 037 038 042 043 048 050 052 063 069 072 104 105 110 111 116 126 159 170 197 215
251 279
""".split()

# Those that can't pass with flatcow-img in its place: why, and the lines that it
# prints where qemu-img prints others. A test that is named here and passes, or
# differs in something else, is an error, so that the list stays true.
DIFFERENT = {
    "020": (
        "commit -b takes a name that leads to the base from the working "
        "directory too, not only from the image's",
        ["Image committed."]),
    "024": (
        "rebase keeps zeroes of the old backing file as zeroes, of which map "
        "says nothing; qemu-img writes them out",
        ["0               0x20000         TEST_DIR/subdir/t.IMGFMT"]),
}

# SPDX-License-Identifier: Apache-2.0
"""The tests of QEMU's suite for QED that need no virtual machine."""

# All of these pass with qemu-img.
TESTS = """
001 002 003 004 005 008 009 010 011 012 017 018 019 020 021 024 025 027 032 033
034 037 038 042 043 048 050 052 063 069 072 104 105 110 111 116 126 159 170 279
""".split()

# Those that can't pass with flatcow-img in its place, and why. A test that is
# named here and passes is an error, so that the list stays true.
DIFFERENT = {
}

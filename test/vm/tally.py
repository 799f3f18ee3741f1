# SPDX-License-Identifier: Apache-2.0
"""Counts of what was checked. Used by several threads."""

import threading


class Tally:

    def __init__(self):
        self.checks = 0
        self.failures = 0
        self.notes = {}
        self._lock = threading.Lock()

    def check(self, good, what, story=""):
        """`story` is shown of a failure, and may be a function."""
        with self._lock:
            self.checks += 1
            if not good:
                self.failures += 1
                print("failed: %s\n%s" % (
                    what, story() if callable(story) else story), flush=True)
        return bool(good)

    def count(self, what, number):
        with self._lock:
            self.notes[what] = self.notes.get(what, 0) + number

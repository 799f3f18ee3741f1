# SPDX-License-Identifier: Apache-2.0
"""What flatcow is meant to reach, as ratios within one run."""

import collections

TMPFS, DISK = "tmpfs", "disk"
EVERYWHERE = (TMPFS, DISK)

# `against`: what the value is divided by; a role of a system ("peer": the best
# one), a system's name, or None: the value itself may be `bound` at most.
Target = collections.namedtuple("Target", "against bound places",
                                defaults=((TMPFS,),))


def native(bound, places=(TMPFS,)):
    return Target("native", bound, places)


def peer(bound):
    return Target("peer", bound, EVERYWHERE)


def qcow2(bound):
    return Target("qcow2", bound, EVERYWHERE)


def at_most(bound):
    return Target(None, bound, EVERYWHERE)


TARGETS = {
    "seq-read-cold": [native(0.45), peer(3.5), native(0.95, (DISK,))],
    "seq-read-again": [native(1.0)],
    "rand-read-1": [peer(1.3)],
    "rand-read-32": [native(0.4), peer(4)],
    "rand-write-1": [peer(1.3)],
    "rand-write-32": [peer(4)],
    "rand-write-fsync": [peer(2.5)],
    "cow-1": [peer(4), qcow2(2.5)],
    "cow-32": [peer(8), qcow2(2.5)],
    "seq-write-new": [native(0.55), peer(2.5)],
    "chain-read": [Target("flatcow-chain1", 0.9)],
    "cpu-per-gib": [at_most(0.2)],
    "daemon-rss": [at_most(64)],
    "many-ready": [at_most(200)],
    "many-list": [at_most(1000)],
    "many-list-long": [at_most(1000)],
    "new-of-1": [at_most(5)],
    "new-of-1000": [at_most(5)],
    "open-1tib-qed": [at_most(5)],
    "open-1tib-add-cow": [at_most(5)],
}

WRITES = {"rand-write-1", "rand-write-32", "rand-write-fsync", "cow-1",
          "cow-32", "seq-write-new"}


def targets_of(workload, system, place):
    """The targets for a system of flatcow's."""
    targets = TARGETS.get(workload, [])
    if system == "flatcow-chain1":  # the measure of the other one
        return []
    compared = [t for t in targets if t.against in ("native", "peer", "qcow2")]
    if system == "flatcow-passthrough" and (
            compared or workload.startswith("seq-read")):
        bound = 0.7 if workload in WRITES else 0.9
        targets = [native(bound, EVERYWHERE)]
    return [t for t in targets if place in t.places]

# SPDX-License-Identifier: Apache-2.0
"""The same disk through each system, in turn."""

import os
import shutil
import sys

from folders import FOLDER_WORKLOADS
from images import Images, make_base
from machine import GIB, MIB, file_system_of
from mounts import Scratch
from systems import COMPARED, NATIVE, SYSTEMS
from workloads import VIEW_WORKLOADS, cpu_per_gib

WORKLOADS = {w.name: w for w in VIEW_WORKLOADS + FOLDER_WORKLOADS}
ROWS_ABOUT_DAEMONS = [
    {"name": "cpu-per-gib", "title": "daemon CPU per GiB, sequential read",
     "unit": "s", "more_is_better": False},
    {"name": "daemon-rss", "title": "daemon memory, the most in any workload",
     "unit": "MiB", "more_is_better": False},
]


class Settings:
    """How much is measured."""

    def __init__(self, quick=False, rounds=None):
        self.region = 128 * MIB if quick else 512 * MIB
        self.size = 4 * GIB
        self.seconds = 0.25 if quick else 1
        self.rounds = rounds or (1 if quick else 3)
        self.many = 10000

    def words(self):
        return {"region": "%d MiB" % (self.region // MIB),
                "size": "%d GiB" % (self.size // GIB),
                "seconds": self.seconds, "rounds": self.rounds,
                "many": format(self.many, ",")}


class Place:
    """Where the images are, and what has been made there."""

    def __init__(self, scratch, settings):
        self.scratch = scratch
        self.region = settings.region
        self.size = settings.size
        self.seconds = settings.seconds
        self.many = settings.many
        self.base_folder = scratch.folder("base")
        self.base = os.path.join(self.base_folder, "base.raw")
        make_base(self.base, self.region, self.size)
        self.images = Images(self)


def say(text):
    print("bench: " + text, file=sys.stderr, flush=True)


def usable_systems(place, names):
    """(systems that show what the flat file has, {name: why not})"""
    usable, skipped = [], {}
    for name in names:
        system = SYSTEMS[name]
        missing = system.missing_programs()
        try:
            if missing:
                raise RuntimeError("there is no " + ", ".join(missing))
            if system in COMPARED:
                place.images.check(system, SYSTEMS[NATIVE])
            usable.append(system)
        except (OSError, RuntimeError) as error:
            skipped[name] = str(error)
            say("without %s: %s" % (name, error))
    return usable, skipped


def measure(place, workload, systems, rounds):
    """Every system once in each round."""
    samples = []
    for round_number in range(rounds):
        for system in systems:
            sample = {"workload": workload.name, "system": system.name,
                      "round": round_number}
            try:
                sample.update(workload.measure(place, system, round_number))
            except (OSError, RuntimeError) as error:
                sample["error"] = str(error)
                say("%s, %s: %s" % (workload.name, system.name, error))
            samples.append(sample)
    return samples


def about_daemons(samples):
    """What the other samples say about CPU and memory, as samples."""
    derived, most = [], {}
    for sample in samples:
        if "error" in sample or sample["system"] == NATIVE:
            continue
        system = sample["system"]
        most[system] = max(most.get(system, 0),
                           sample.get("daemon_rss_mib", 0))
        if sample["workload"] == "seq-read-cold":
            derived.append(dict(sample, workload="cpu-per-gib",
                                value=cpu_per_gib(sample)))
    return derived + [{"workload": "daemon-rss", "system": system, "round": 0,
                       "value": value} for system, value in most.items()]


def check_space(parent, settings):
    """All images together take up to a dozen times the data."""
    needed = 14 * settings.region
    if shutil.disk_usage(parent).free < needed:
        raise RuntimeError("%s has less than %d MiB free" %
                           (parent, needed // MIB))


def compare_at(parent, settings, system_names, workloads):
    check_space(parent, settings)
    with Scratch(parent) as scratch:
        place = Place(scratch, settings)
        systems, skipped = usable_systems(place, system_names)
        samples = []
        for workload in workloads:
            say(workload.title)
            samples += measure(place, workload,
                               [s for s in systems if s in workload.systems],
                               settings.rounds)
        rows = [{"name": w.name, "title": w.title, "unit": w.unit,
                 "more_is_better": w.more_is_better} for w in workloads]
        return {"file_system": file_system_of(parent),
                "rows": rows + ROWS_ABOUT_DAEMONS, "skipped": skipped,
                "samples": samples + about_daemons(samples)}


def compare(parents, settings, system_names, workload_names):
    """`parents`: {"tmpfs": directory, ...}"""
    workloads = [WORKLOADS[name] for name in workload_names]
    places = {}
    for name, parent in parents.items():
        say("files on " + name)
        places[name] = compare_at(parent, settings, system_names, workloads)
    return {"settings": settings.words(), "places": places}

# SPDX-License-Identifier: Apache-2.0
"""flatcow-img beside qemu-img: each job by both in turn, in one run."""

import collections
import contextlib
import json
import os
import shutil
import statistics

from built_images import (Content, Qed, check_shown, mixed_clusters,
                          write_add_cow, write_raw, write_raw_runs)
from commands import timed
from compare import say
from loop_place import mount_new
from machine import GIB, MIB, TIB, run, touch_memory, warm
from mounts import Scratch
from report import number

CLUSTER = 64 << 10
FLATCOW, QEMU = "flatcow-img", "qemu-img"
BASE, FLAT = "base.raw", "flat.raw"
QED, TWIN, ADD_COW, DATA = "disk.qed", "twin.qed", "disk.add-cow", "disk.data"
FILES = {"qed": [QED], "add-cow": [ADD_COW, DATA]}
SEVERAL = 3  # times faster, where holes or shared blocks help

# Who does it, with an image of which format; how it is run is up to the job.
Way = collections.namedtuple("Way", "program format")
# `written`: files that have to be on the disk when the clock stops.
Run = collections.namedtuple("Run", "command written good",
                             defaults=((), (0,)))


def human_size(size):
    return "%d GiB" % (size // GIB) if size >= GIB else \
        "%d MiB" % (size // MIB)


class Settings:
    """How much is measured."""

    def __init__(self, quick=False, rounds=None):
        self.disk = 512 * MIB if quick else 4 * GIB
        self.map_disk = GIB if quick else 8 * GIB
        self.check_disk = 64 * GIB if quick else TIB
        self.memory_sizes = [GIB, 16 * GIB, (64 if quick else 256) * GIB]
        self.memory_data = (64 if quick else 512) * MIB
        self.rounds = rounds or (1 if quick else 3)


def copy(source, target):
    run("cp", "--reflink=auto", "--sparse=always", source, target)


class Chain:
    """A disk of which half is in the base and half in the overlay, in runs of
    1 to 16 clusters: a quarter is in both, a quarter in neither.

    The overlay comes as QED, as add-cow with the same clusters, and as a second
    QED image, its clusters in the opposite order. `flat` is the same disk as a
    plain file, made by qemu-img and checked.
    """

    def __init__(self, folder, size, with_twin):
        self.folder = folder
        self.size = size
        self.work = os.path.join(folder, "work")
        self.overlays = os.path.join(folder, "overlays")
        self.base = os.path.join(folder, BASE)
        self.flat = os.path.join(folder, FLAT)
        os.mkdir(self.overlays)
        self.new_work()
        self.make(with_twin)

    def overlay(self, name):
        return os.path.join(self.overlays, name)

    def new_work(self):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)

    def make(self, with_twin):
        count = self.size // CLUSTER
        below, above = Content(1, CLUSTER), Content(2, CLUSTER)
        base, own = (mixed_clusters(count, seed) for seed in ("base", "own"))
        backing = "../" + BASE
        write_raw(self.base, self.size, base, below)
        qed = Qed(self.size)
        qed.write(self.overlay(QED), own, backing, above)
        if with_twin:
            qed.write(self.overlay(TWIN), own[::-1], backing, above)
        write_add_cow(self.overlay(ADD_COW), self.overlay(DATA), self.size, own,
                      backing, above)
        run(QEMU, "convert", "-f", "qed", "-O", "raw", self.overlay(QED),
            self.flat)
        check_shown(self.flat, self.size, [(above, own), (below, base)])

    def warm(self):
        for path in (self.base, self.flat,
                     *(self.overlay(n) for n in os.listdir(self.overlays))):
            warm(path, os.path.getsize(path))


class Job:
    """`ways`: flatcow-img's, then the one of qemu-img that all are compared
    with. `target`: how many times faster flatcow-img is to be."""

    target = 1
    touched = 64 * MIB  # what is new in memory while it works

    def __init__(self, name, title, formats=("qed",)):
        self.name = name
        self.title = title
        self.ways = [Way(FLATCOW, f) for f in formats] + [Way(QEMU, "qed")]

    def verify(self, way):
        """After each way's first round: raises if the work is not well done."""


class ChainJob(Job):
    def __init__(self, chain, *arguments):
        super().__init__(*arguments)
        self.chain = chain
        self.folder = chain.work

    def source(self, way):
        return self.chain.overlay(FILES[way.format][0])

    def work(self, name):
        return os.path.join(self.chain.work, name)

    def done(self):
        self.chain.new_work()


class Convert(ChainJob):
    @property
    def touched(self):
        return self.chain.size * 3 // 4

    def prepare(self, way):
        out = self.work("out")
        return Run([way.program, "convert", "-f", way.format, "-O", "raw",
                    self.source(way), out], [out])

    def verify(self, way):
        run("cmp", self.work("out"), self.chain.flat)


class CompareFlat(ChainJob):
    def prepare(self, way):
        return Run([way.program, "compare", "-f", "raw", "-F", way.format,
                    self.chain.flat, self.source(way)])


class CompareTwins(ChainJob):
    def prepare(self, way):
        return Run([way.program, "compare", "-f", "qed", "-F", "qed",
                    self.chain.overlay(QED), self.chain.overlay(TWIN)])


def flatten_command(way, image):
    """QEMU flattens by a rebase on nothing."""
    if way.program == FLATCOW:
        return [FLATCOW, "flatten", "-q", "-f", way.format, image]
    return [QEMU, "rebase", "-q", "-f", way.format, "-b", "", image]


class Flatten(ChainJob):
    @property
    def touched(self):
        return self.chain.size // 4

    def prepare(self, way):
        files = [self.work(name) for name in FILES[way.format]]
        for path in files:
            copy(self.chain.overlay(os.path.basename(path)), path)
        return Run(flatten_command(way, files[0]), files)

    def verify(self, way):
        os.rename(self.chain.base, self.chain.base + ".away")
        try:
            if way.format == "add-cow":
                run("cmp", self.work(DATA), self.chain.flat)
            else:
                run(QEMU, "compare", "-f", "raw", "-F", "qed", self.chain.flat,
                    self.work(QED))
        finally:
            os.rename(self.chain.base + ".away", self.chain.base)


class Map(Job):
    """Every second cluster of 4 KiB is allocated; of the base, the first MiB
    of each eight is data, the rest holes."""

    target = SEVERAL
    touched = 512 * MIB

    def __init__(self, folder, size):
        self.size = size
        self.allocated = size // 4096 // 2
        super().__init__("map", "map as JSON, %s clusters" %
                         format(self.allocated, ","))
        self.folder = folder
        self.image = os.path.join(folder, QED)
        write_raw_runs(os.path.join(folder, BASE), size, 8 * MIB, MIB,
                       Content(1, CLUSTER))
        Qed(size, cluster_size=4096, table_size=16).write(
            self.image, range(0, 2 * self.allocated, 2), BASE)
        self.first_output = None

    def prepare(self, way):
        return Run([way.program, "map", "-f", "qed", "--output=json",
                    self.image])

    def done(self):
        pass

    def verify(self, way):
        output = os.path.join(self.folder, "output-" + way.program)
        if self.first_output is None:
            self.first_output = output
            return
        count = compare_maps(self.first_output, output)
        if count != 2 * self.allocated:
            raise RuntimeError("map shows %d extents" % count)


def extents_of(path):
    """The lines of a map, each with what it says but for the spelling."""
    with open(path) as file:
        for line in file:
            extent = json.loads(line.strip().lstrip("[").rstrip(",]"))
            extent.pop("compressed", None)  # of newer versions
            yield extent


def compare_maps(one, other):
    """How many extents both have; raises if they are not the same."""
    count = 0
    extents = extents_of(other)
    for extent in extents_of(one):
        if extent != next(extents, None):
            raise RuntimeError("maps differ at " + json.dumps(extent))
        count += 1
    if next(extents, None):
        raise RuntimeError("a map goes on")
    return count


class Check(Job):
    touched = 512 * MIB

    def __init__(self, folder, size):
        self.clusters = size // CLUSTER
        super().__init__("check", "check, %s clusters" %
                         format(self.clusters, ","))
        self.folder = folder
        self.image = os.path.join(folder, QED)
        Qed(size).write(self.image, range(self.clusters))

    def prepare(self, way):
        # qemu-img finds leaks in any good image of 4 GiB or more.
        return Run([way.program, "check", "-f", "qed", "--output=json",
                    self.image], (), (0, 3) if way.program == QEMU else (0,))

    def done(self):
        pass

    def verify(self, way):
        with open(os.path.join(self.folder, "output-" + way.program)) as file:
            found = json.load(file)
        if found["allocated-clusters"] != self.clusters or \
                found.get("corruptions", 0) or found["check-errors"]:
            raise RuntimeError("%s check: %s" % (way.program, found))


def measure_once(job, way, first):
    """One sample; `first`: the work is looked at, too."""
    planned = job.prepare(way)
    output = os.path.join(job.folder, "output-" + way.program)
    # Nothing of what went before is to be written while the clock runs.
    run("sync", "--file-system", job.folder)
    touch_memory(job.touched)
    try:
        cost = timed(job.folder, planned.command, planned.written, output,
                     planned.good)
        if first:
            job.verify(way)
    finally:
        job.done()
    return dict(cost._asdict())


def measure(job, place, rounds):
    """Each way once in each round, every time another one first.

    What comes first of all is not counted: memory and file system are new to
    it. That is not all of the spread: some writes to the kernel's cache take
    several times the CPU of others, whichever program makes them.
    """
    samples = []
    with contextlib.suppress(OSError, RuntimeError):  # the rounds tell
        measure_once(job, job.ways[-1], first=False)
    for round_number in range(rounds):
        first = round_number % len(job.ways)
        for way in job.ways[first:] + job.ways[:first]:
            sample = {"job": job.name, "title": job.title, "place": place,
                      "target": target_of(job, place),
                      "round": round_number, **way._asdict()}
            try:
                sample.update(measure_once(job, way, round_number == 0))
            except (OSError, RuntimeError) as error:
                sample["error"] = str(error)
                say("%s by %s: %s" % (job.title, way.program, error))
            samples.append(sample)
    return samples


def target_of(job, place):
    """Where blocks can be shared, nothing has to be copied."""
    return SEVERAL if place == "xfs" else job.target


def chain_jobs(chain, with_compare):
    both = ("qed", "add-cow")
    yield Convert(chain, "convert", "convert to raw", both)
    yield Flatten(chain, "flatten", "flatten", both)
    if with_compare:
        yield CompareFlat(chain, "compare", "compare with the flat copy", both)
        yield CompareTwins(chain, "compare-twins",
                           "compare of two overlays of one base")


def chain_samples(folder, place, settings):
    say("the chain on " + place)
    with_compare = place == "tmpfs"
    chain = Chain(folder, settings.disk, with_compare)
    samples = []
    for job in chain_jobs(chain, with_compare):
        say("%s, on %s" % (job.title, place))
        chain.warm()
        samples += measure(job, place, settings.rounds)
    return samples


def metadata_samples(scratch, settings):
    samples = []
    for kind, size in ((Map, settings.map_disk), (Check, settings.check_disk)):
        say(kind.__name__.lower())
        samples += measure(kind(scratch.new_folder("metadata"), size), "tmpfs",
                           settings.rounds)
    scratch.new_folder("metadata")
    return samples


def with_spread(values, unit=""):
    median = number(statistics.median(values)) + unit
    if len(values) == 1:
        return median
    return "%s (%s..%s)" % (median, number(min(values)), number(max(values)))


def values_of(samples, key):
    return [sample[key] for sample in samples]


def line(job, own, peer):
    """A row of the table: one way of flatcow-img beside qemu-img."""
    start = [job["title"], job["place"], job["format"]]
    errors = [s["error"] for s in own + peer if "error" in s]
    if errors:
        return start + ["fails: " + errors[0], *["-"] * 6]
    seconds = [values_of(samples, "seconds") for samples in (own, peer)]
    in_rounds = [b / a for a, b in zip(*seconds)]
    ratio = statistics.median(seconds[1]) / statistics.median(seconds[0])
    return start + [
        *(with_spread(values, " s") for values in seconds), "%.2f" % ratio,
        "%.2f..%.2f" % (min(in_rounds), max(in_rounds)),
        *(" / ".join(number(statistics.median(values_of(samples, key)))
                     for samples in (own, peer)) for key in ("cpu", "rss_mib")),
        "%gx: %s" % (job["target"],
                     "met" if ratio >= job["target"] else "missed")]


def lines(samples):
    groups = collections.defaultdict(list)
    for sample in samples:
        groups[sample["job"], sample["place"], sample["program"],
               sample["format"]].append(sample)
    return [line(own[0], own, groups[job, place, QEMU, "qed"])
            for (job, place, program, _), own in groups.items()
            if program == FLATCOW]


def check_quirk(samples):
    """What qemu-img finds in the image that has no fault."""
    found = sorted({s.get("status") for s in samples
                    if s["job"] == "check" and s["program"] == QEMU} - {None})
    if found != [3]:
        return ""
    return (" qemu-img's check ends with exit code 3 (leaks): it divides by "
            "one less\nthan the cluster size, and so finds a leak in any good "
            "image of 4 GiB or more.")


# Memory

def memory_chain(folder, size, data):
    """Half of the data in the base, half in the overlay, in runs of 4 MiB all
    over the disk."""
    run_length = 4 * MIB // CLUSTER
    runs = data // (8 * MIB)
    step = size // CLUSTER // runs
    starts = [number * step for number in range(runs)]
    base, own = ([s + shift + c for s in starts for c in range(run_length)]
                 for shift in (0, run_length))
    write_raw(os.path.join(folder, BASE), size, base, Content(1, CLUSTER))
    Qed(size).write(os.path.join(folder, QED), own, BASE, Content(2, CLUSTER))
    write_add_cow(os.path.join(folder, ADD_COW), os.path.join(folder, DATA),
                  size, own, BASE, Content(2, CLUSTER))


def memory_runs(folder):
    """{(what, program, format, -m): Run}"""
    out = os.path.join(folder, "out")
    planned = {}
    ways = [Way(FLATCOW, "qed"), Way(FLATCOW, "add-cow"), Way(QEMU, "qed")]
    for way in ways:
        image = os.path.join(folder, FILES[way.format][0])
        for requests in (1, 8, 32 if way.program == FLATCOW else 16):
            planned["convert", *way, requests] = Run(
                [way.program, "convert", "-f", way.format, "-O", "raw",
                 "-m", str(requests), image, out], [out])
    for way in ways:
        image = os.path.join(folder, FILES[way.format][0])
        planned["flatten", *way, None] = Run(flatten_command(way, image))
    return planned


def memory_of_size(scratch, size, settings):
    """{key of memory_runs: Cost}"""
    folder = scratch.new_folder("memory")
    memory_chain(folder, size, settings.memory_data)
    costs = {}
    for key, planned in memory_runs(folder).items():
        costs[key] = timed(folder, planned.command)
        for path in planned.written:
            os.remove(path)
        if key[0] == "flatten":  # the next one finds it as it was
            memory_chain(folder, size, settings.memory_data)
    scratch.new_folder("memory")
    return costs


def memory(scratch, settings):
    """A section of the report."""
    found = {}
    for size in settings.memory_sizes:
        say("memory, %s" % human_size(size))
        found[size] = memory_of_size(scratch, size, settings)
    largest = max(found)
    return {
        "title": "Memory of the tool by the size of the disk",
        "note": "Peak of resident memory in MiB, and the seconds that the "
                "largest disk took. %s of data\nin runs of 4 MiB all over the "
                "disk, half of it in the overlay; files on tmpfs. -m: pieces\n"
                "of the disk under way at once; the default of both is 8, and "
                "qemu-img takes 16 at most." %
                human_size(settings.memory_data),
        "header": ["job", "program", "image", "-m",
                   *(human_size(size) for size in found),
                   "s, " + human_size(largest)],
        "rows": [[what, program, image_format, requests or "-",
                  *(costs[what, program, image_format, requests].rss_mib
                    for costs in found.values()),
                  found[largest][what, program, image_format, requests].seconds]
                 for what, program, image_format, requests in found[largest]],
    }


NOTE = """Wall time until what was written is on its disk, fsync included; CPU time; peak of
resident memory. Median (least..most); rounds: %(rounds)d, in each of which every program
has its turn. "Faster": how many times, "in rounds": in each of them. All that is
read is in the host's cache.

The chain is a disk of %(disk)s. A raw base holds half of its clusters of 64 KiB, the
overlay another half, both in runs of 1 to 16: a quarter is in both. qemu-img, which
has no add-cow, always has the QED overlay.

- convert: `convert -f FMT -O raw` to a new file, with the defaults of both
- flatten: `flatten`; qemu-img's is `rebase -b ""` of the QED overlay
- compare: the chain with its flat copy; two QED overlays with the same data
- map: `map --output=json` of a QED image of %(map_disk)s of which every second cluster of
  4 KiB is allocated, over a base with a MiB of data in each eight: twice as many lines
- check: `check` of a QED image of %(check_disk)s with all clusters allocated

xfs, which shares blocks, and ext4 are in files on the disk that are written past the
cache there. What was made is compared with the flat copy, and the maps with each
other, once.%(quirk)s"""


def jobs(samples, settings):
    """A section of the report."""
    return {
        "title": "The tool beside qemu-img",
        "note": NOTE % {
            "rounds": settings.rounds, "disk": human_size(settings.disk),
            "map_disk": human_size(settings.map_disk),
            "check_disk": human_size(settings.check_disk),
            "quirk": check_quirk(samples)},
        "header": ["job", "files on", "image", FLATCOW, QEMU, "faster",
                   "in rounds", "CPU s", "MiB", "target"],
        "rows": lines(samples),
        "samples": samples,
    }


def disk_samples(directory, kind, settings):
    """On a new file system in a file in `directory`."""
    size = 8 * settings.disk
    if shutil.disk_usage(directory).free < size:
        say("without %s: %s has less than %s free" %
            (kind, directory, human_size(size)))
        return []
    with Scratch(directory) as scratch:
        return chain_samples(mount_new(scratch, kind, size), kind, settings)


def tool(parents, settings):
    """The sections of the report; `parents`: {"tmpfs": directory, ...}"""
    samples, sections = [], []
    if "tmpfs" in parents:
        with Scratch(parents["tmpfs"]) as scratch:
            samples += metadata_samples(scratch, settings)
            sections.append(memory(scratch, settings))
            samples += chain_samples(scratch.new_folder("chain"), "tmpfs",
                                     settings)
    if "disk" in parents:
        for kind in ("xfs", "ext4"):
            samples += disk_samples(parents["disk"], kind, settings)
    return [jobs(samples, settings), *sections]

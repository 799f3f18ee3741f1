# SPDX-License-Identifier: Apache-2.0
"""Tables of what was measured, in Markdown."""

import collections
import os
import statistics

from systems import COMPARED, SYSTEMS
from targets import targets_of

Summary = collections.namedtuple("Summary", "median least most error")
NO_VALUE = "-"


def number(value):
    if value >= 10000:
        return "%.0f K" % (value / 1000)
    if value >= 100:
        return "%.0f" % value
    if value >= 10:
        return "%.1f" % value
    return "%.2f" % value


def spread(summary):
    return "%s..%s" % (number(summary.least), number(summary.most))


def table(header, rows):
    """A Markdown table that is also readable as it is."""
    widths = [max(len(row[column]) for row in [header] + rows)
              for column in range(len(header))]
    lines = [header, ["-" * width for width in widths]] + rows
    return "\n".join("| %s |" % " | ".join(
        cell.ljust(width) for cell, width in zip(line, widths))
        for line in lines) + "\n"


def summarize(samples):
    """{(workload, system): Summary}"""
    values, errors = collections.defaultdict(list), {}
    for sample in samples:
        key = sample["workload"], sample["system"]
        if "error" in sample:
            errors[key] = sample["error"]
        else:
            values[key].append(sample["value"])
    found = {key: Summary(statistics.median(v), min(v), max(v), None)
             for key, v in values.items()}
    for key, error in errors.items():
        found[key] = Summary(None, None, None, error)
    return found


class PlaceReport:
    """The tables of one place."""

    def __init__(self, name, place):
        self.name = name
        self.rows = place["rows"]
        self.skipped = place["skipped"]
        self.found = summarize(place["samples"])

    def reference(self, row, against):
        """The median that a value is compared with, or None: there is none.

        `against`: a role (the best of its systems) or a system's name.
        """
        medians = [
            summary.median for (workload, system), summary in self.found.items()
            if workload == row["name"] and summary.median and
            against in (SYSTEMS[system].role, system)]
        if not medians:
            return None
        return max(medians) if row["more_is_better"] else min(medians)

    def ratio(self, row, median, against):
        """How many times better than what it is compared with."""
        reference = self.reference(row, against)
        if not reference or not median:
            return None
        return median / reference if row["more_is_better"] \
            else reference / median

    def judge(self, row, system, summary):
        """(the targets, whether they are met) in words."""
        words, met = [], []
        for target in targets_of(row["name"], system, self.name):
            if target.against is None:
                words.append("at most %g %s" % (target.bound, row["unit"]))
                met.append(summary.median <= target.bound)
                continue
            words.append("%gx %s" % (target.bound, target.against))
            ratio = self.ratio(row, summary.median, target.against)
            if ratio is not None:
                met.append(ratio >= target.bound)
        if not met:
            return ", ".join(words) or NO_VALUE, NO_VALUE
        verdict = "met" if all(met) else "missed"
        if len(met) < len(words):
            verdict += " (%d of %d compared)" % (len(met), len(words))
        return ", ".join(words), verdict

    def target_line(self, row, system):
        summary = self.found[row["name"], system]
        if summary.error:
            return [row["title"], system, "fails: " + summary.error,
                    *[NO_VALUE] * 5]
        ratios = [self.ratio(row, summary.median, against)
                  for against in ("native", "peer")]
        return [row["title"], system,
                "%s %s" % (number(summary.median), row["unit"]),
                spread(summary),
                *[NO_VALUE if r is None else "%.2f" % r for r in ratios],
                *self.judge(row, system, summary)]

    def targets_table(self):
        lines = [self.target_line(row, system)
                 for row in self.rows for system in SYSTEMS
                 if SYSTEMS[system].role == "flatcow" and
                 (row["name"], system) in self.found]
        verdicts = [line[-1].split(" ")[0] for line in lines]
        return table(["workload", "system", "median", "least..most",
                      "of native", "of best peer", "target", "reached"],
                     lines) + "\nTargets: %d met, %d missed.\n" % (
                         verdicts.count("met"), verdicts.count("missed"))

    def systems_table(self):
        """All systems that show the same disk, beside each other."""
        measured = {system for _, system in self.found}
        systems = [s.name for s in COMPARED if s.name in measured]
        lines = []
        for row in self.rows:
            cells = [self.found.get((row["name"], s)) for s in systems]
            if sum(cell is not None for cell in cells) > 1:
                lines.append(["%s, %s" % (row["title"], row["unit"])] + [
                    NO_VALUE if cell is None else "fails" if cell.error else
                    "%s (%s)" % (number(cell.median), spread(cell))
                    for cell in cells])
        return table(["workload, unit", *systems], lines) if lines else ""

    def markdown(self):
        text = self.targets_table()
        systems = self.systems_table()
        if systems:
            text += "\nEvery system: median (least..most)\n\n" + systems
        for system, reason in self.skipped.items():
            text += "\nWithout %s: %s\n" % (system, reason)
        return text


TITLES = {
    "tmpfs": "Files in memory, so that no disk hides the cost",
    "disk": "Files on a disk",
}


def compare_markdown(result):
    text = """## The same disk through each system

"Of native": the flat file itself is 1, more is better, whatever the unit. "Of
best peer": the better of qsd-qed and nbdfuse-qed is 1. A disk of %(size)s,
%(region)s of it with data; random work lasts %(seconds)g s. Rounds: %(rounds)d;
in each one every system has its turn.

"Cold" follows drop_caches: on a disk the files under the view are cold too, on
tmpfs nothing can be. Else the host has them in its cache, so that on a disk
O_DIRECT goes to the device for native and not for the others. %(many)s images
are "many".
""" % result["settings"]
    for name, place in result["places"].items():
        text += "\n### %s (%s)\n\n%s" % (
            TITLES[name], place["file_system"],
            PlaceReport(name, place).markdown())
    return text


def markdown(result):
    """The whole report."""
    parts = []
    if "compare" in result:
        parts.append(compare_markdown(result["compare"]))
        with open(os.path.join(os.path.dirname(__file__), "BOUNDS.md")) as file:
            parts.append(file.read())
    for name in ("scaling", "views", "pages", "soak", "profile", "limits",
                 "tool", "compressed", "counting"):
        for section in result.get(name, []):
            text = "## %s\n\n" % section["title"]
            text += "%s\n\n" % section["note"] if section["note"] else ""
            parts.append(text + table(section["header"], [
                [number(c) if isinstance(c, float) else str(c) for c in row]
                for row in section["rows"]]))
    versions = ", ".join("%s: %s" % item for item in result["versions"].items())
    return """# How fast it is

Made by `%s`.

%s. Load average when it began: %.1f.

%s""" % (result["command"], versions, result["load"], "\n".join(parts))

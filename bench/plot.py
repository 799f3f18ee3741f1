#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the comparison on tmpfs that RESULTS.md has, as results.svg.

    plot.py             draws it again
    plot.py --check     fails unless the picture is XML, what would be drawn,
                        and has all of its workloads and systems

"./dev bench compare --markdown FILE" draws one beside the file.
"""

import argparse
import math
import os
import re
import sys
from xml.etree.ElementTree import fromstring as parse_xml
from xml.sax.saxutils import escape

FOLDER = os.path.dirname(os.path.abspath(__file__))

NATIVE = "native"
SYSTEMS = [  # column of the table, name, colour
    ("flatcow-qed", "flatcow", "#0072b2"),
    ("flatcow-passthrough", "flatcow, passthrough", "#56b4e9"),
    ("qsd-qed", "QEMU's FUSE export", "#d55e00"),
    ("nbdfuse-qed", "nbdfuse", "#999999"),
]
WORKLOADS = [  # row of the table without its unit, what the picture calls it
    ("sequential read, cold", "sequential read, cold"),
    ("sequential read again, new open", "sequential read again"),
    ("random 4K read, depth 1", "random 4K read, depth 1"),
    ("random 4K read, depth 32", "random 4K read, depth 32"),
    ("random 4K write, allocated, depth 1", "random 4K write, depth 1"),
    ("random 4K write, allocated, depth 32", "random 4K write, depth 32"),
    ("random 4K write + fsync", "random 4K write + fsync"),
    ("4K write to new clusters, depth 1",
     "4K write to new clusters, depth 1"),
    ("4K write to new clusters, depth 32",
     "4K write to new clusters, depth 32"),
    ("sequential write to new clusters + fsync",
     "sequential write to new clusters"),
]
# Nothing is new to a passthrough view: all of its clusters are there.
LEFT_OUT = {("4K write to new clusters, depth 1", "flatcow-passthrough"),
            ("4K write to new clusters, depth 32", "flatcow-passthrough")}

TITLE = "Throughput of a disk image's view, relative to the plain file"
LEAST, MOST = 0.005, 1.0  # of the logarithmic axis
TICKS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
WIDTH, LEFT, RIGHT, TOP = 860, 236, 796, 92
BAR, BETWEEN_BARS, BETWEEN_GROUPS = 11, 2, 13
LABEL = 36  # a number behind a bar


def value_of(cell):
    """The median in a cell of the table: "51 K (44 K..51 K)" is 51000."""
    match = re.match(r"([\d.]+)( K)? \(", cell)
    return float(match[1]) * (1000 if match[2] else 1) if match else None


def ratios_of(markdown):
    """{(workload, system): throughput, the plain file's is 1}"""
    found, header = {}, None
    section = re.search(r"\n### [^\n]*\(tmpfs\)\n(.*?)(\n##|$)", markdown,
                        re.DOTALL)
    for line in (section[1] if section else "").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "workload, unit":
            header = cells
        elif header and len(cells) == len(header):
            values = dict(zip(header, map(value_of, cells)))
            for system, _, _ in SYSTEMS:
                if values.get(system) and values.get(NATIVE):
                    workload = cells[0].rpartition(", ")[0]
                    found[workload, system] = values[system] / values[NATIVE]
    return found


def text(x, y, words, size=12, anchor="start", more=""):
    return ('<text x="%g" y="%g" font-size="%g" text-anchor="%s"%s>%s</text>' %
            (x, y, size, anchor, more, escape(words)))


def place_of(ratio):
    """How far to the right it is."""
    share = math.log(max(ratio, LEAST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (RIGHT - LEFT)


def number(ratio):
    return "%.2f" % ratio if ratio >= 0.1 else "%.3f" % ratio


def in_words(found):
    """What who can't see the picture is told."""
    return " ".join("%s: %s." % (title, ", ".join(
        "%s %s" % (name, number(found[workload, system]))
        for system, name, _ in SYSTEMS if (workload, system) in found))
        for workload, title in WORKLOADS)


def legend():
    parts, x = [], LEFT
    for _, name, colour in SYSTEMS:
        parts.append('<rect x="%d" y="52" width="11" height="11" fill="%s"/>' %
                     (x, colour))
        parts.append(text(x + 16, 62, name))
        x += 38 + 6.6 * len(name)
    return parts


def axis(bottom):
    parts = []
    for tick in TICKS:
        x = place_of(tick)
        parts.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>' %
                     (x, TOP - 6, x, bottom,
                      "#222222" if tick == 1 else "#dddddd"))
        parts.append(text(round(x, 1), TOP - 11, "%g" % tick, 11, "middle"))
    return parts


def groups(found):
    """(the bars, where the last one ends)"""
    parts, y = [], TOP + 4
    for workload, title in WORKLOADS:
        bars = [(found[workload, system], colour)
                for system, _, colour in SYSTEMS
                if (workload, system) in found]
        if not bars:
            continue
        height = len(bars) * (BAR + BETWEEN_BARS) - BETWEEN_BARS
        parts.append(text(LEFT - 12, y + height / 2 + 4, title, 12, "end"))
        for ratio, colour in bars:
            x = place_of(ratio)
            parts.append('<rect x="%d" y="%d" width="%.1f" height="%d" '
                         'fill="%s"/>' % (LEFT, y, x - LEFT, BAR, colour))
            if x + LABEL > RIGHT:  # not across the line of the plain file
                x = max(x, RIGHT)
            parts.append(text(round(x + 5, 1), y + BAR - 1.5,
                              number(ratio), 10.5, more=' paint-order="stroke" '
                              'stroke="#ffffff" stroke-width="3"'))
            y += BAR + BETWEEN_BARS
        y += BETWEEN_GROUPS - BETWEEN_BARS
    return parts, y


def draw(markdown):
    """The picture; None if there is nothing to draw."""
    found = {key: ratio for key, ratio in ratios_of(markdown).items()
             if key not in LEFT_OUT}
    if not any(key[0] in dict(WORKLOADS) for key in found):
        return None
    bars, bottom = groups(found)
    height = bottom + 14
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
        'viewBox="0 0 %d %d" role="img" aria-labelledby="title desc" '
        'font-family="sans-serif" fill="#222222">' %
        (WIDTH, height, WIDTH, height),
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        '<title id="title">%s</title>' % escape(TITLE),
        '<desc id="desc">%s</desc>' % escape(
            "The plain file is 1, more is better. " + in_words(found)),
        '<rect width="%d" height="%d" fill="#ffffff" stroke="#cccccc"/>' %
        (WIDTH, height),
        text(16, 26, TITLE, 16, more=' font-weight="bold"'),
        text(16, 44, "Files on tmpfs, so that no disk hides the cost. The plain "
             "file is 1, more is better; logarithmic scale.", 12),
        *legend(), *axis(bottom), *bars, "</svg>", ""])


def draw_beside(path):
    """Draws what the report `path` has, if it has it, into its folder."""
    with open(path) as file:
        picture = draw(file.read())
    if picture:
        with open(picture_of(path), "w") as file:
            file.write(picture)


def picture_of(path):
    folder, name = os.path.split(path)
    return os.path.join(folder, os.path.splitext(name)[0].lower() + ".svg")


def check(path):
    with open(path) as file:
        markdown = file.read()
    missing = {(workload, system) for workload, _ in WORKLOADS
               for system, _, _ in SYSTEMS} - set(ratios_of(markdown))
    if missing:
        sys.exit("%s does not have: %s" % (path, sorted(missing)))
    with open(picture_of(path)) as file:
        picture = file.read()
    parse_xml(picture)
    if picture != draw(markdown):
        sys.exit("%s is not what %s has: run bench/plot.py" %
                 (picture_of(path), path))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("results", nargs="?", metavar="RESULTS.md",
                        default=os.path.join(FOLDER, "RESULTS.md"))
    arguments = parser.parse_args()
    (check if arguments.check else draw_beside)(arguments.results)


if __name__ == "__main__":
    main()

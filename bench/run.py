#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast are flatcow's views, beside the plain file and other programs that
show an image as a file? Prints tables; usually run by "./dev bench".

    run.py             all workloads of one disk through each system
    run.py scaling     cost by size of the disk, open views, length of chain
    run.py views       memory by the number of views of one golden image
    run.py pages       whose pages a hundred views of one golden image fill
    run.py soak        memory by the length of work
    run.py profile     what the daemon does meanwhile, seen by perf
    run.py limits      what the host's own calls cost
    run.py tool        flatcow-img beside qemu-img
    run.py compressed  a compressed qcow2 base below an overlay
    run.py counting    the daemon's counters, with --program

flatcow and flatcow-img are those found in PATH.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sys

from compare import WORKLOADS, Place, Settings, compare, say
from compressed import Settings as CompressedSettings
from compressed import compressed
from counting import counting
from limits import limits
from machine import file_system_of, versions
from mounts import Scratch
from pages import pages
from perf_profile import profile
from plot import draw_beside
from report import markdown
from scaling import scaling
from soak import soak
from systems import SYSTEMS
from tool import Settings as ToolSettings
from tool import tool
from views import views

TMPFS = "/dev/shm"
KINDS = ("compare", "scaling", "views", "pages", "soak", "profile", "limits",
         "tool", "compressed", "counting")


def disk_directory():
    directory = os.environ.get("TMPDIR", "/var/tmp")
    if file_system_of(directory) == "tmpfs":
        raise RuntimeError("%s is on tmpfs; TMPDIR can name a directory on a "
                           "disk" % directory)
    return directory


def directories(on):
    """{"tmpfs": directory, "disk": directory}, or one of them."""
    found = {}
    if on != "disk":
        found["tmpfs"] = TMPFS
    if on != "tmpfs":
        found["disk"] = disk_directory()
    return found


def list_of(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    "no such name: %s; there are: %s" %
                    (name, ", ".join(known)))
        return names
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT",
                        help="compare (the default), scaling, views, pages, "
                        "soak, profile, limits, tool, compressed, counting")
    parser.add_argument("--quick", action="store_true",
                        help="one short round: an impression in 90 seconds")
    parser.add_argument("--on", choices=["tmpfs", "disk", "both"],
                        help="where the files of compare and limits (tmpfs) "
                        "and of tool (both) are; the disk is that of $TMPDIR "
                        "or /var/tmp, where those of compressed are")
    parser.add_argument("--systems", type=list_of(SYSTEMS), metavar="A,B",
                        help="of: " + ", ".join(SYSTEMS))
    parser.add_argument("--workloads", type=list_of(WORKLOADS), metavar="A,B",
                        help="of: " + ", ".join(WORKLOADS))
    parser.add_argument("--rounds", type=int,
                        help="of compare and tool (3), of compressed (5)")
    parser.add_argument("--program", metavar="FILE",
                        help="counting_benchmark")
    parser.add_argument("--json", metavar="FILE", help="write all values here")
    parser.add_argument("--markdown", metavar="FILE",
                        help="write the tables here too, and a picture of "
                        "the comparison on tmpfs beside it")
    parser.add_argument("--from", metavar="FILE", dest="earlier",
                        help="measure nothing; the tables of this --json")
    arguments = parser.parse_args()
    arguments.what = arguments.what or ["compare"]
    for what in arguments.what:
        if what not in KINDS:
            parser.error("there is no " + what)
    return arguments


def check_rights():
    if os.geteuid() != 0:
        sys.exit("bench: this needs root: caches are dropped before cold reads,"
                 " and passthrough is for root only")
    if not os.path.exists("/dev/fuse"):
        sys.exit("bench: there is no /dev/fuse: the kernel has no FUSE here")


def raise_file_limit():
    """A thousand open views are as many files here, and twice that in a
    daemon."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def command_of(arguments):
    """What to type to measure the same again."""
    command = ["./dev", "bench", *arguments.what]
    if arguments.on:
        command += ["--on", arguments.on]
    if arguments.quick:
        command.append("--quick")
    if arguments.rounds:
        command += ["--rounds", str(arguments.rounds)]
    for option, names in (("--systems", arguments.systems),
                          ("--workloads", arguments.workloads)):
        if names:
            command += [option, ",".join(names)]
    return " ".join(command)


def measure(arguments):
    source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    load = os.getloadavg()[0]
    if load > 0.5:
        say("others use this machine (load %.1f): expect spread" % load)
    result = {"command": command_of(arguments), "versions": versions(source),
              "load": load}
    parents = directories(arguments.on or "tmpfs")
    if "compare" in arguments.what:
        result["compare"] = compare(
            parents, Settings(arguments.quick, arguments.rounds),
            arguments.systems or list(SYSTEMS),
            arguments.workloads or list(WORKLOADS))
    if "scaling" in arguments.what:
        say("scaling")
        with Scratch(TMPFS) as scratch:
            result["scaling"] = scaling(scratch, arguments.quick)
    if "views" in arguments.what:
        say("views")
        with Scratch(disk_directory()) as scratch:
            result["views"] = views(scratch, arguments.quick)
    if "pages" in arguments.what:
        say("pages")
        with Scratch(disk_directory()) as scratch:
            result["pages"] = pages(scratch, arguments.quick)
    if "soak" in arguments.what:
        say("soak")
        with Scratch(TMPFS) as scratch:
            result["soak"] = soak(scratch, arguments.quick)
    if "profile" in arguments.what:
        say("profile")
        with Scratch(TMPFS) as scratch:
            result["profile"] = profile(
                Place(scratch, Settings(arguments.quick)))
    if "limits" in arguments.what:
        say("limits")
        with contextlib.ExitStack() as stack:
            result["limits"] = limits(
                {name: stack.enter_context(Scratch(parent))
                 for name, parent in parents.items()}, arguments.quick)
    if "tool" in arguments.what:
        say("tool")
        result["tool"] = tool(directories(arguments.on or "both"),
                              ToolSettings(arguments.quick, arguments.rounds))
    if "counting" in arguments.what:
        say("counting")
        with Scratch(TMPFS) as scratch:
            result["counting"] = counting(scratch, arguments.program,
                                          arguments.quick)
    if "compressed" in arguments.what:
        say("compressed")
        result["compressed"] = compressed(
            disk_directory(),
            CompressedSettings(arguments.quick, arguments.rounds))
    return result


def result_of(arguments):
    if arguments.earlier:
        with open(arguments.earlier) as file:
            return json.load(file)
    check_rights()
    raise_file_limit()
    return measure(arguments)


def terminated(*_):
    raise KeyboardInterrupt


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, terminated)
    try:
        result = result_of(arguments)
    except KeyboardInterrupt:
        sys.exit("bench: stopped; nothing is left mounted")
    except (OSError, RuntimeError) as error:
        sys.exit("bench: %s" % error)
    text = markdown(result)
    print(text, end="")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")
    if arguments.markdown:
        with open(arguments.markdown, "w") as file:
            file.write(text)
        draw_beside(arguments.markdown)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""QEMU's machine protocol, as much of it as a test needs."""

import json
import socket


class Qmp:
    """A connection to the socket of a running QEMU."""

    def __init__(self, path, timeout_seconds):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_seconds)
        self.socket.connect(path)
        self.lines = self.socket.makefile()
        self.events = []
        json.loads(self.lines.readline())  # the greeting
        self.run("qmp_capabilities")

    def close(self):
        self.lines.close()
        self.socket.close()

    def run(self, command, **arguments):
        """The answer; an error raises."""
        self.socket.sendall(json.dumps(
            {"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError("%s: %s" % (command, answer["error"]))
            else:
                return answer["return"]

    def wait_for(self, event):
        """What QEMU says of the first event of that name."""
        while True:
            for answer in self.events:
                if answer["event"] == event:
                    return answer["data"]
            answer = json.loads(self.lines.readline())
            if "event" in answer:
                self.events.append(answer)

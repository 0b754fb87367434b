# SPDX-License-Identifier: Apache-2.0
"""python worker.py FD: the worker process of a plug-in in Python. Started by dsv4cts."""
import os
import sys

if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import ctypes
import faulthandler
import traceback

from dsv4cts import abi, ports


class Worker:
    """What the harness's worker calls back. A callback must not raise: ctypes would swallow it."""

    def __init__(self):
        self.library = abi.Library()
        self.path = self.plugin = None

    def answer(self, why, size, work):
        """Does the work and returns its status; `why` says what went wrong."""
        try:
            status, text = work()
        except ports.Refused as refused:
            status, text = abi.REFUSED, str(refused) or "the port refuses this input"
        except BaseException as error:  # SystemExit too: only os._exit() ends a worker
            traceback.print_exception(type(error), error, ports.trimmed(error, self.path))
            status, text = abi.ERROR, ports.sentence(error, self.path)
        if text:
            abi.say(why, size, text)
        return status

    def supports(self, c, why, size):
        def work():
            declined = self.plugin.choose(self.plugin.call(c.contents))[1]
            return (abi.OK, None) if declined is None else (abi.UNSUPPORTED, declined)
        return self.answer(why, size, work)

    def declare(self, c, arithmetic):
        chosen, _ = self.plugin.choose(self.plugin.call(c.contents))
        size = min(arithmetic.contents.size, ctypes.sizeof(chosen.declared))
        ctypes.memmove(arithmetic, ctypes.byref(chosen.declared), size)
        arithmetic.contents.size = size
        return abi.OK

    def run(self, c, why, size):
        return self.answer(why, size, lambda: (abi.OK, self.plugin.run(self.plugin.call(c.contents))))

    def open(self, path, index, why, size):
        self.path = os.fsdecode(path)

        def work():
            self.plugin = ports.Plugin(self.path, self.library, index)
            return abi.OK, None
        if self.answer(why, size, work) != abi.OK:
            return None
        plugin = self.plugin
        self.c = abi.CPlugin(ctypes.sizeof(abi.CPlugin), abi.ABI, plugin.name.encode(), str(plugin.version).encode(),
                             plugin.device.encode(), abi.ON_CALL(self.supports), abi.ON_CALL(self.run), None,
                             abi.ON_DECLARE(self.declare))
        return ctypes.addressof(self.c)

    def serve(self, socket):
        on_open = abi.ON_OPEN(self.open)
        return self.library.serve(socket, on_open)


def main():
    sys.stdout.reconfigure(line_buffering=True)  # what is printed before a crash is seen
    faulthandler.enable(all_threads=False)
    status = Worker().serve(int(sys.argv[1]))
    os._exit(status)  # nothing of the port's may run after the last case


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("dsv4cts: worker.py is started by `dsv4cts check` and `bench`, not by hand")
    main()

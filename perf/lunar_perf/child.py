"""What every measured process does first and last, whatever it measures (:mod:`lunar_perf.children` starts them).

It pins itself before it imports anything heavy, so that a library's threads inherit the core; reports one text on
standard output; and lives no longer than its parent.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TextIO

from lunar_perf.pinning import pin
from lunar_perf.side import enter

READY = b"ready\n"


def begin(core: int | None) -> tuple[threading.Event, TextIO]:
    """Pin this process, move it to its host's network, and take over its standard streams.

    Args:
        core: where to run, or None for wherever the kernel likes.

    Returns:
        An event that is set when the parent says that everybody has reported, and where to write the report: what a
        library prints goes to standard error instead.
    """
    if core is not None:
        pin(core)
    enter()
    return _lifeline(), _private_stdout()


def ready(report: TextIO) -> None:
    """Tell the parent, before the report, that this process has started and the next one may."""
    tell(report, READY.decode().strip())


def tell(report: TextIO, text: str) -> None:
    """Write the report: one line, the last one."""
    report.write(text + "\n")
    report.flush()


def _lifeline() -> threading.Event:
    """Watch standard input: anything that comes sets the event, its end ends this process at once.

    So a busy loop cannot outlive whoever started it.
    """
    done = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):
            done.set()
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return done


def _private_stdout() -> TextIO:
    sys.stdout.flush()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return report

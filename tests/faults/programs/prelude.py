"""Stands before every program that a test gives as text: how to talk to the test, and to live within limits."""

# ruff: noqa: F401 - the programs use what is imported here
import asyncio
import gc
import itertools
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable

import lunar


def say(what: object) -> None:
    """Tells the test something."""
    os.write(1, json.dumps(what).encode() + b"\n")


def heard() -> str:
    """Waits for a line from the test; empty when it has nothing more to say."""
    return sys.stdin.readline().strip()


def attempt(function: Callable[[], object]) -> str:
    """What a call returns or raises, as text."""
    try:
        return repr(function())
    except BaseException as error:  # noqa: BLE001 - the test judges it
        return f"{type(error).__name__}: {error}"


def leave_descriptors(spare: int) -> None:
    """Sets the limit so that exactly so many more can be opened."""
    lift_limit()
    in_use = {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}
    free = (number for number in itertools.count() if number not in in_use)
    most = next(itertools.islice(free, spare, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def lift_limit() -> None:
    """Sets the limit of descriptors to what the system allows at most."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

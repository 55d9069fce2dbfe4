"""One side a core: which core each measured process gets, and how it is put there."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the processes of a run go.

    Attributes:
        first: core of the side that measures or sends.
        others: core of each other process, in order.
        note: what a reader of the figures has to know, empty when every process has a core of its own.
    """

    first: int
    others: tuple[int, ...]
    note: str = ""


def place(other_count: int, available: tuple[int, ...] | None = None) -> Placement:
    """Give the first process a core of its own and spread the others over the rest.

    Args:
        other_count: how many processes there are beside the first.
        available: cores to use; default: those this process may run on.
    """
    cores = available if available is not None else tuple(sorted(os.sched_getaffinity(0)))
    rest = cores[1:] or cores
    others = tuple(rest[index % len(rest)] for index in range(other_count))
    note = ""
    if len(cores) == 1:
        note = f"only core {cores[0]} is available: all {other_count + 1} processes share it"
    elif other_count > len(rest):
        note = f"{other_count} processes share {len(rest)} core(s) on the other side"
    return Placement(cores[0], others, note)


def pin(core: int) -> None:
    """Keep this process, and every thread it starts from now on, on one core.

    Raises:
        OSError: the core does not exist or is not allowed.
    """
    os.sched_setaffinity(0, {core})

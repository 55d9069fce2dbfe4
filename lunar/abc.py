"""The contract that a transport implements.

A transport is a module that carries samples for matches. It is found by the entry-point group
`lunar.transports` and imported on first use, so one that is not needed costs nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

__all__ = ["Capabilities", "Probe", "Reach", "Transport"]

Reach = Literal["host", "network"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a transport can do wherever it runs at all. Selection weighs these, so they must be true.

    Attributes:
        reach: "host" if both ends must be on one host, "network" if they need not be.
        zero_copy: True if a loaned message reaches the subscriber without being copied.
        reliable: True if no sample is lost while both ends live, unless the profile allows it.
        multicast: True if one transmission serves many subscriptions.
        largest_message_bytes: Largest message it carries, or None if only memory limits it.
        time_triggered: True if a send may carry a transmit time that is kept.
        encrypted: True if nobody but the two ends can read what it carries.
    """

    reach: Reach
    zero_copy: bool = False
    reliable: bool = False
    multicast: bool = False
    largest_message_bytes: int | None = None
    time_triggered: bool = False
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a transport can run here and now.

    Attributes:
        ok: True if it can.
        reason: What is missing, or "" if nothing is.
        remedy: What the user can do about it, or "" if nothing is missing.
    """

    ok: bool
    reason: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        # A refusal that does not say why and what to do leaves the user with nothing.
        explained = (bool(self.reason), bool(self.remedy))
        if explained != ((False, False) if self.ok else (True, True)):
            raise ValueError("a probe gives a reason and a remedy exactly if it is not ok")


class Transport(ABC):
    """A way to carry samples between two ends.

    An instance belongs to one process and may be used from any of its threads. Creating one is
    cheap and touches nothing outside of the process; whether it works here is for `probe` to say.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The name it is chosen by, the same as that of its entry point ("shm")."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can do; the same each time it is asked."""

    @abstractmethod
    def probe(self) -> Probe:
        """Looks whether this host has what it needs, now.

        May be called at any time and any number of times, before or after anything else. It leaves
        nothing behind: what it had to create to find out, it has removed when it returns. The
        answer may change between two calls. It may make system calls that return at once but never
        waits for another process, and needs no privilege: a lack of one is an answer.

        Returns:
            Yes, or what is missing and what to do about it. Never an exception for what is missing.
        """

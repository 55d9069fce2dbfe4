"""What a transport can do, and whether it can do it here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Capabilities", "Probe", "Reach"]

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
        kernel_bypass: True if it may go past the kernel's network stack, where firewalls and captures do not see it. It
            is opened, and chosen, only once an endpoint asks for the fast datapath.
    """

    reach: Reach
    zero_copy: bool = False
    reliable: bool = False
    multicast: bool = False
    largest_message_bytes: int | None = None
    time_triggered: bool = False
    encrypted: bool = False
    kernel_bypass: bool = False


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

"""Which transport serves a match, and why not the others. Pure.

A transport has to be usable here and meet every requirement of the match. Of those that do, the
one that copies least and reaches no further than needed wins; the order given breaks a tie.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lunar.abc import Capabilities, Probe
from lunar.graph.descriptions import EndpointInfo

__all__ = ["Candidate", "Match", "Selection", "select"]


@dataclass(frozen=True, slots=True)
class Match:
    """A publisher and a subscription that agree, and where they are.

    Attributes:
        publisher: The end that sends.
        subscription: The end that receives.
        same_host: True if both are on this host.
        message_bytes: Size of the messages if their type fixes it, else None.
    """

    publisher: EndpointInfo
    subscription: EndpointInfo
    same_host: bool = True
    message_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A transport that both ends have.

    Attributes:
        name: The transport's name.
        capabilities: What it can do.
        probe: Whether it can run here.
    """

    name: str
    capabilities: Capabilities
    probe: Probe


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome for one match.

    Attributes:
        choice: Name of the transport that serves the match, or None if none can.
        reasons: For each candidate, by name and in the order given, why it was chosen or not.
    """

    choice: str | None
    reasons: Mapping[str, str]


def select(match: Match, candidates: Iterable[Candidate]) -> Selection:
    """Chooses the transport of a match.

    Args:
        match: Both ends and where they are.
        candidates: The transports that both ends have, the preferred ones first; names differ.
    """
    offered = list(candidates)
    reasons = {candidate.name: _why_unfit(match, candidate) for candidate in offered}
    fit = [candidate for candidate in offered if not reasons[candidate.name]]
    if not fit:
        return Selection(None, reasons)
    best = max(fit, key=_rank)
    for candidate in fit:
        reasons[candidate.name] = _why_chosen(candidate) if candidate is best else _why_second(candidate, best)
    return Selection(best.name, reasons)


def _why_unfit(match: Match, candidate: Candidate) -> str:
    """Returns the first reason why a transport cannot serve a match, or "" if it can."""
    can = candidate.capabilities
    if not candidate.probe.ok:
        return f"unavailable: {candidate.probe.reason}; remedy: {candidate.probe.remedy}"
    if can.reach == "host" and not match.same_host:
        return "the two ends are on different hosts and it reaches only its own"
    # A reliable publisher may serve a best-effort subscription, which then asks for nothing.
    if match.subscription.qos.reliability == "reliable" and not can.reliable:
        return "the subscription requests reliable delivery, which it does not give"
    largest = can.largest_message_bytes
    if largest is not None and match.message_bytes is not None and match.message_bytes > largest:
        return f"the messages have {match.message_bytes} bytes and it carries at most {largest}"
    return ""


def _rank(candidate: Candidate) -> tuple[bool, bool]:
    can = candidate.capabilities
    return can.zero_copy, can.reach == "host"


def _why_chosen(candidate: Candidate) -> str:
    can = candidate.capabilities
    copies = "without a copy" if can.zero_copy else "with a copy"
    return f"chosen: carries messages {copies}, reach {can.reach}"


def _why_second(candidate: Candidate, best: Candidate) -> str:
    can, better = candidate.capabilities, best.capabilities
    if better.zero_copy and not can.zero_copy:
        return f"it copies messages, {best.name} does not"
    if better.reach == "host" and can.reach != "host":
        return f"{best.name} stays on this host"
    return f"{best.name} is as good and preferred"

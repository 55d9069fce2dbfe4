"""Which transport serves a match, and why not the others. Pure.

Both ends select by themselves, from the same announcements, and must come to the same choice: nothing here depends on
which of them asks, or on the order in which anything is given. A transport has to be usable at both ends and meet every
requirement of the match. Of those that do, the best is the one that does what the profiles prefer, copies least, and
reaches no further than needed; a table of names decides between equals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from lunar.abc import Capabilities
from lunar.graph.descriptions import EndpointInfo
from lunar.graph.transports import TransportInfo
from lunar.qos import QoS

__all__ = ["Match", "Selection", "select"]

# Between equals; all others come after these, by name. By design so far: zmq connects straight to its peer, has no
# discovery of its own and encrypts by default. Measurements are to decide, in this one place.
_PREFERENCE: Final = ("xdp", "zmq", "dds")

_Own = Mapping[str, TransportInfo]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Match:
    """A publisher and a subscription that agree, and where they are.

    Attributes:
        publisher: The end that sends.
        subscription: The end that receives.
        same_host: True if both are on one host, so that their processes meet without a network.
        message_bytes: Size of the messages if their type fixes it, else None.
    """

    publisher: EndpointInfo
    subscription: EndpointInfo
    same_host: bool = True
    message_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome for one match.

    Attributes:
        choice: Name of the transport that serves the match, or None if none can.
        reasons: For each transport, by name and the preferred ones first, why it was chosen or not.
        not_encrypted: Why the choice does not encrypt although one end, or both, have a transport that would, and ask
            for no other; "" if that is not so. Somebody has set up encryption, and should know.
    """

    choice: str | None
    reasons: Mapping[str, str]
    not_encrypted: str = ""

    def __str__(self) -> str:
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.reasons.items():
            by_reason.setdefault(reason, []).append(name)
        return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()) or "there is none"


def select(
    match: Match,
    publisher_has: Iterable[TransportInfo],
    subscription_has: Iterable[TransportInfo],
    others: Iterable[TransportInfo] = (),
    unreachable: Mapping[str, str] = _NOTHING,
) -> Selection:
    """Chooses the transport of a match.

    Args:
        match: Both ends and where they are.
        publisher_has: What the publisher's process has announced.
        subscription_has: What the subscription's process has announced.
        others: Transports that are to be given a reason even if neither end has announced them.
        unreachable: Transports that do not reach from the one process to the other at present, and why. Where nothing
            else serves, one of these is chosen all the same: it may have a connection again any time.
    """
    sends, receives = _by_name(publisher_has), _by_name(subscription_has)
    known = _by_name(others)
    named = [qos.transport for qos in (match.publisher.qos, match.subscription.qos) if qos.transport is not None]
    reasons: dict[str, str] = {}
    fit: dict[str, Capabilities] = {}
    encrypts = ""
    for name in sorted({*sends, *receives, *known, *named}, key=_place):
        reasons[name] = _why_not_asked_for(match, name) or _why_out_of_reach(match, name, (sends, receives), known)
        if not reasons[name] and (reason := _why_not_at_both(name, sends, receives)):
            reasons[name] = reason
            encrypts = encrypts or _what_would_encrypt(name, sends, receives, reason)
        if not reasons[name]:
            can = _of_both(sends[name], receives[name])
            reasons[name] = _why_unfit(match, can, name)
            if not reasons[name]:
                fit[name] = can
    if not fit:
        return Selection(None, reasons)
    best = min(fit, key=lambda name: (name in unreachable, *_shortcomings(match, fit[name]), _place(name)))
    lost = next((name for name in fit if name in unreachable and fit[name].encrypted), "")
    encrypts = encrypts or (f"{lost} would be: unreachable: {unreachable[lost]}" if lost else "")
    warning = "" if match.same_host or fit[best].encrypted else encrypts
    for name, can in fit.items():
        if name == best or name not in unreachable:
            reasons[name] = _why_chosen(match, can) if name == best else _why_second(match, can, best, fit[best])
        if name in unreachable:
            reasons[name] += ("; unreachable at present: " if name == best else "unreachable: ") + unreachable[name]
    if warning:
        reasons[best] += f", not encrypted although {warning}"
    return Selection(best, reasons, warning)


def _what_would_encrypt(name: str, sends: _Own, receives: _Own, reason: str) -> str:
    """What to say of a transport that one end alone has if it encrypts there; else ""."""
    ready = [own[name].capabilities for own in (sends, receives) if name in own and not own[name].missing]
    return f"{name} would be: {reason}" if any(can is not None and can.encrypted for can in ready) else ""


def _by_name(infos: Iterable[TransportInfo]) -> dict[str, TransportInfo]:
    return {info.name: info for info in infos}


def _place(name: str) -> tuple[int, str]:
    return (_PREFERENCE.index(name) if name in _PREFERENCE else len(_PREFERENCE), name)


def _of_both(here: TransportInfo, there: TransportInfo) -> Capabilities:
    """What a transport can do for two ends: what both can; versions and settings may differ."""
    one, two = (info.capabilities or Capabilities(reach="host") for info in (here, there))
    limits = [each.largest_message_bytes for each in (one, two) if each.largest_message_bytes is not None]
    return Capabilities(
        reach="host" if "host" in (one.reach, two.reach) else "network",
        zero_copy=one.zero_copy and two.zero_copy,
        reliable=one.reliable and two.reliable,
        multicast=one.multicast and two.multicast,
        largest_message_bytes=min(limits, default=None),
        time_triggered=one.time_triggered and two.time_triggered,
        encrypted=one.encrypted and two.encrypted,
        # On one side is enough: enough to be faster, and enough for who wants none of it.
        kernel_bypass=one.kernel_bypass or two.kernel_bypass,
    )


# ---- why not -------------------------------------------------------------------------------------------------------
#
# Each returns a reason, or "" if there is none. They are asked in the order in which they stand here.


def _why_not_asked_for(match: Match, name: str) -> str:
    sent, received = match.publisher.qos.transport, match.subscription.qos.transport
    if sent is not None and received is not None and sent != received:
        return f"the publisher asks for {sent} and the subscription for {received}"
    if (sent or received or name) != name:
        return f"{_who('asks', 'ask', sent is not None, received is not None)} for {sent or received}"
    return ""


def _why_out_of_reach(match: Match, name: str, ends: Iterable[_Own], known: _Own) -> str:
    told = [own[name].capabilities for own in ends if name in own]
    if not any(told) and name in known:
        told = [known[name].capabilities]
    reaches = {can.reach for can in told if can is not None}
    if match.same_host and "network" in reaches:
        return "the two ends are on one host, and it serves only those on different hosts"
    if not match.same_host and "host" in reaches:
        return "the two ends are on different hosts, and it reaches only its own"
    return ""


def _why_not_at_both(name: str, sends: _Own, receives: _Own) -> str:
    texts: dict[str, str] = {}
    for end, own in (("publisher", sends), ("subscription", receives)):
        if name not in own:
            stays = all(info.capabilities is not None and info.capabilities.reach == "host" for info in own.values())
            texts[end] = "does not have it" + (" (it stays on its host)" if stays else "")
        elif own[name].missing or own[name].capabilities is None:
            texts[end] = f"cannot use it: {own[name].missing}"
    if len(texts) == 2 and len(set(texts.values())) == 1:
        return f"each end's process {texts['publisher']}"
    return "; ".join(f"the {end}'s process {text}" for end, text in texts.items())


def asks_for_bypass(qos: QoS, name: str) -> bool:
    """Whether an endpoint asks for a way past the kernel's network stack: for any, or for this one by name."""
    return qos.datapath == "fast" or qos.transport == name


def _why_unfit(match: Match, can: Capabilities, name: str) -> str:
    # A reliable publisher may serve a best-effort subscription, which then asks for nothing.
    if match.subscription.qos.reliability == "reliable" and not can.reliable:
        return "the subscription requests reliable delivery, which it does not give"
    largest = can.largest_message_bytes
    if largest is not None and match.message_bytes is not None and match.message_bytes > largest:
        return f"the messages have {match.message_bytes} bytes and it carries at most {largest}"
    if can.kernel_bypass and (who := _who_wants(match, "standard")):
        return f"{who} the standard datapath, and it goes past the kernel's network stack"
    asked = any(asks_for_bypass(end.qos, name) for end in (match.publisher, match.subscription))
    if can.kernel_bypass and not match.same_host and not asked:
        return "it goes past the kernel's network stack, and neither end asks for the fast datapath"
    return ""


# ---- which of those that fit ---------------------------------------------------------------------------------------


def _shortcomings(match: Match, can: Capabilities) -> tuple[bool, bool, bool]:
    return not _is_fast(match, can), not can.zero_copy, can.reach != "host"


def _is_fast(match: Match, can: Capabilities) -> bool:
    """Whether it does all that is wished; where no network is between the ends there is no stack to go past."""
    return can.kernel_bypass or match.same_host or not _who_wants(match, "fast")


def _why_chosen(match: Match, can: Capabilities) -> str:
    copies = "with a copy" if not can.zero_copy else "without a copy"
    traits = [f"carries messages {copies}", f"reach {can.reach}"]
    if can.encrypted:
        traits.append("encrypted")
    if can.kernel_bypass:
        traits.append("past the kernel's network stack")
    text = f"chosen: {', '.join(traits)}"
    if not _is_fast(match, can):
        text += f"; {_who_wants(match, 'fast')} the fast datapath, but none that fits is one"
    return text


def _why_second(match: Match, can: Capabilities, best: str, better: Capabilities) -> str:
    if _is_fast(match, better) and not _is_fast(match, can):
        return f"{_who_wants(match, 'fast')} the fast datapath, and {best} is one"
    if better.zero_copy and not can.zero_copy:
        return f"it copies messages, {best} does not"
    if better.reach == "host" and can.reach != "host":
        return f"{best} stays on this host"
    return f"{best} is as good and preferred"


def _who_wants(match: Match, datapath: str) -> str:
    """Which ends want a datapath, as the beginning of a sentence; "" if none does."""
    return _who("wants", "want", match.publisher.qos.datapath == datapath, match.subscription.qos.datapath == datapath)


def _who(verb: str, verb_of_both: str, publisher: bool, subscription: bool) -> str:
    if publisher and subscription:
        return f"both ends {verb_of_both}"
    return f"the publisher {verb}" if publisher else f"the subscription {verb}" if subscription else ""

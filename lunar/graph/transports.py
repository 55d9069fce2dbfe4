"""What a process tells of the transports that it has: which it can use, and why it cannot use the others.

Both ends of a match choose its transport by themselves from what both have told (`lunar.selection`), so all that the
choice depends on travels. It may come from a hostile peer: everything is checked and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from lunar.abc import Capabilities
from lunar.errors import PeerFault
from lunar.names import is_transport_name

__all__ = ["HOST_ONLY", "MAX_TRANSPORTS", "TransportInfo", "as_announced", "printable", "read_transports"]

MAX_TRANSPORTS: Final = 16
MAX_REASON: Final = 500
_MAX_BYTES: Final = 2**63 - 1
_FLAGS: Final = ("zero_copy", "reliable", "multicast", "time_triggered", "encrypted", "kernel_bypass")
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class TransportInfo:
    """A transport, as one process has it.

    Attributes:
        name: Its name.
        capabilities: What it can do; None where that is not known.
        missing: Why the process cannot use it; "" if it can.
        remark: What there is to know though it can; see `lunar.abc.Engine.remark`.
    """

    name: str
    capabilities: Capabilities | None
    missing: str = ""
    remark: str = ""

    @property
    def beyond_host(self) -> bool:
        """True if the process can reach other hosts with it."""
        return not self.missing and self.capabilities is not None and self.capabilities.reach == "network"

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `from_dict` reads back."""
        can = None if self.capabilities is None else asdict(self.capabilities)
        told: dict[str, object] = {"name": self.name, "capabilities": can, "missing": self.missing}
        return {**told, "remark": self.remark} if self.remark else told

    @classmethod
    def from_dict(cls, data: object, *, pid: int | None = None) -> TransportInfo:
        """Reads a transport that a peer described.

        Raises:
            PeerFault: Something is not valid, or it can be used but nothing is known of it.
        """
        if not isinstance(data, Mapping):
            raise PeerFault("one of its transports is no mapping", pid)
        name, missing, remark = data.get("name"), data.get("missing", ""), data.get("remark", "")
        if not isinstance(name, str) or not is_transport_name(name):
            raise PeerFault("one of its transports has a bad name", pid)
        if not isinstance(missing, str) or len(missing) > MAX_REASON or not missing.isprintable():
            raise PeerFault(f"its transport {name} has a bad 'missing'", pid)
        if not isinstance(remark, str) or len(remark) > MAX_REASON or not remark.isprintable():
            raise PeerFault(f"its transport {name} has a bad 'remark'", pid)
        can = data.get("capabilities")
        if can is None:
            if not missing:
                raise PeerFault(f"its transport {name} has no capabilities", pid)
            return cls(name, None, missing, remark)
        return cls(name, _capabilities(name, can, pid), missing, remark)


def _capabilities(name: str, data: object, pid: int | None) -> Capabilities:
    bad = PeerFault(f"its transport {name} has bad capabilities", pid)
    if not isinstance(data, Mapping):
        raise bad
    reach, largest = data.get("reach"), data.get("largest_message_bytes")
    if largest is not None and (type(largest) is not int or not 0 <= largest <= _MAX_BYTES):
        raise bad
    flags = {flag: data.get(flag, False) for flag in _FLAGS}
    if any(type(value) is not bool for value in flags.values()):
        raise bad
    for known in ("host", "network"):
        if reach == known:
            return Capabilities(reach=known, largest_message_bytes=largest, **flags)
    raise bad


def read_transports(data: object, *, pid: int | None = None) -> tuple[TransportInfo, ...]:
    """Reads the transports that a peer described.

    Raises:
        PeerFault: It is no list of them, one stands twice, or there are more than `MAX_TRANSPORTS`.
    """
    if not isinstance(data, list | tuple) or len(data) > MAX_TRANSPORTS:
        raise PeerFault(f"its 'transports' are no list of at most {MAX_TRANSPORTS}", pid)
    found = tuple(TransportInfo.from_dict(item, pid=pid) for item in data)
    if len({each.name for each in found}) != len(found):
        raise PeerFault("it has one transport twice", pid)
    return found


def as_announced(found: Iterable[TransportInfo]) -> tuple[TransportInfo, ...]:
    """Makes what is told of transports fit for telling: as many as are allowed, reasons printable and not too long."""
    usable_first = sorted(found, key=lambda each: bool(each.missing))[:MAX_TRANSPORTS]
    return tuple(replace(each, missing=printable(each.missing), remark=printable(each.remark)) for each in usable_first)


def printable(text: str) -> str:
    """Makes a reason fit for `TransportInfo.missing`."""
    return "".join(each for each in _SPACE.sub(" ", text) if each.isprintable())[:MAX_REASON]


HOST_ONLY: Final = (TransportInfo("shm", Capabilities(reach="host", zero_copy=True, reliable=True)),)
"""What a process has that tells nothing: every one has the transport within its host."""

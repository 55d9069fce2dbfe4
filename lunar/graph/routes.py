"""Routes: what a process tells of matches whose transport is not simply the first choice, for `lunar explain`.

What both ends' transports can do everybody can see, and so can compute what they choose. That a transport does not
reach from the one to the other, or has failed before, only the two of them know; so they tell it with their nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from lunar.errors import PeerFault
from lunar.graph.transports import MAX_TRANSPORTS, printable
from lunar.names import is_transport_name

if TYPE_CHECKING:
    from lunar.graph.descriptions import Fields

__all__ = ["MAX_ROUTES", "Route", "read_routes"]

MAX_ROUTES: Final = 64
"""Of one node; of more than these nothing is told."""

_MAX_REASON: Final = 200
_MAX_GAP_S: Final = 1e9
_MAX_TIME_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Route:
    """The transport of one match.

    Attributes:
        publisher_id: The publisher.
        subscription_id: The subscription.
        transport: What carries it.
        unreachable: Transports that do not reach from the one process to the other at present, and why.
        before: What carried it until its transport was changed last; "" if it never was.
        reason: Why it was changed.
        gap_s: How long it was without service then.
        changed_at_ns: When that was; wall clock, nanoseconds since the epoch.
    """

    publisher_id: str
    subscription_id: str
    transport: str
    unreachable: Mapping[str, str] = field(default_factory=dict)
    before: str = ""
    reason: str = ""
    gap_s: float = 0.0
    changed_at_ns: int = 0

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `read_routes` reads back, of reasonable length."""
        unreachable = {name: printable(reason)[:_MAX_REASON] for name, reason in self.unreachable.items()}
        return {**asdict(self), "unreachable": unreachable, "reason": printable(self.reason)[:_MAX_REASON]}


def read_routes(fields: Fields, key: str) -> tuple[Route, ...]:
    """Reads what a peer told.

    Raises:
        PeerFault: Something is not valid.
    """
    return tuple(_read(item, fields, key) for item in fields.items(key, MAX_ROUTES))


def _read(data: object, fields: Fields, key: str) -> Route:
    if not isinstance(data, Mapping):
        raise fields.fault(key, "one is no mapping")
    texts: dict[str, str] = {}
    for name in ("publisher_id", "subscription_id", "transport", "before", "reason"):
        text = data.get(name)
        if not isinstance(text, str) or len(text) > _MAX_REASON or not text.isprintable():
            raise fields.fault(key, f"one has a bad {name!r}")
        texts[name] = text
    gap_s, at_ns = data.get("gap_s"), data.get("changed_at_ns")
    if not isinstance(gap_s, int | float) or not 0 <= gap_s <= _MAX_GAP_S:
        raise fields.fault(key, "one has a bad 'gap_s'")
    if not isinstance(at_ns, int) or not 0 <= at_ns <= _MAX_TIME_NS:
        raise fields.fault(key, "one has a bad 'changed_at_ns'")
    unreachable = _read_reasons(data.get("unreachable"), fields.fault(key, "one has a bad 'unreachable'"))
    return Route(**texts, unreachable=unreachable, gap_s=float(gap_s), changed_at_ns=at_ns)


def _read_reasons(data: object, bad: PeerFault) -> dict[str, str]:
    if not isinstance(data, Mapping) or len(data) > MAX_TRANSPORTS:
        raise bad
    for name, reason in data.items():
        if not isinstance(name, str) or not is_transport_name(name):
            raise bad
        if not isinstance(reason, str) or len(reason) > _MAX_REASON or not reason.isprintable():
            raise bad
    return dict(data)

"""What `Node.events()` yields: changes in the graph and broken promises, each naming both ends.

Every event is one-sided: `local` is the endpoint of this node that it concerns, `remote` the other
end where there is one. The other side sees its own event for the same cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from lunar.graph.descriptions import EndpointInfo
    from lunar.qos import Incompatibility

__all__ = [
    "DeadlineMissed",
    "EndpointEvent",
    "Event",
    "IncompatibleQoS",
    "LivelinessLost",
    "LossCause",
    "Matched",
    "NoTransport",
    "NotEncrypted",
    "PeerFaulted",
    "SamplesLost",
    "Severity",
    "TransportChanged",
    "TypeMismatch",
    "Unmatched",
]

Severity = Literal["info", "warning"]
LossCause = Literal["overwritten", "held", "expired", "network", "invalid"]

_CAUSES: dict[LossCause, str] = {
    "overwritten": "overwritten before they were taken",
    "held": "not delivered because the subscription holds too many",
    "expired": "older than the lifespan",
    "network": "lost on the network",
    "invalid": "not what the message type says",
}


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events.

    Attributes:
        severity: "warning" if somebody should look at it; those are logged when nobody listens.
    """

    severity: ClassVar[Severity] = "warning"


@dataclass(frozen=True, slots=True)
class EndpointEvent(Event):
    """The base of events that concern one endpoint of this node.

    Attributes:
        local: The endpoint of this node.
        remote: The other end, or None if the event concerns the local end alone.
    """

    local: EndpointInfo
    remote: EndpointInfo | None

    @property
    def topic(self) -> str:
        """The absolute name of the topic."""
        return self.local.topic

    def _ends(self, joint: str) -> str:
        return str(self.local) if self.remote is None else f"{self.local} {joint} {self.remote}"


@dataclass(frozen=True, slots=True)
class Matched(EndpointEvent):
    """Samples can flow between the two ends from now on."""

    severity: ClassVar[Severity] = "info"

    def __str__(self) -> str:
        return self._ends("matched with")


@dataclass(frozen=True, slots=True)
class Unmatched(EndpointEvent):
    """The other end closed, died or was disconnected; no sample flows between the two any more."""

    severity: ClassVar[Severity] = "info"

    def __str__(self) -> str:
        return self._ends("no longer matched with")


@dataclass(frozen=True, slots=True)
class IncompatibleQoS(EndpointEvent):
    """The publisher offers less than the subscription requests, so the two do not match.

    Attributes:
        incompatibilities: Each policy that falls short.
    """

    incompatibilities: tuple[Incompatibility, ...]

    def __str__(self) -> str:
        reasons = "; ".join(found.text for found in self.incompatibilities)
        return f"incompatible QoS, no match: {self._ends('and')}: {reasons}"


@dataclass(frozen=True, slots=True)
class TypeMismatch(EndpointEvent):
    """The two ends of a topic carry different message types, so they do not match.

    Attributes:
        differences: Between two versions of one type, field by field.
    """

    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        theirs = "" if self.remote is None else f", there {_type_of(self.remote)}"
        text = f"type mismatch, no match: {self._ends('and')}: here {_type_of(self.local)}{theirs}"
        return "; ".join([text, *self.differences])


@dataclass(frozen=True, slots=True)
class NoTransport(EndpointEvent):
    """The two ends agree, but no transport can serve them, so they do not match. See `lunar explain`.

    Attributes:
        reason: Why not, for each transport.
    """

    reason: str

    def __str__(self) -> str:
        return f"no transport, no match: {self._ends('and')}: {self.reason}"


@dataclass(frozen=True, slots=True)
class NotEncrypted(EndpointEvent):
    """A match with another host is not encrypted, although one of the two processes has made ready a transport that is.

    Told once for each other process, at its first such match. See `lunar explain`.

    Attributes:
        transport: What serves the match.
        reason: What would encrypt, and why it cannot be used.
    """

    transport: str
    reason: str

    def __str__(self) -> str:
        return f"not encrypted over {self.transport}: {self._ends('and')}: {self.reason}"


@dataclass(frozen=True, slots=True)
class TransportChanged(EndpointEvent):
    """A match goes on by another transport: the one that served it has failed, or a better one works again.

    What is reliable was neither lost nor repeated.

    Attributes:
        before: Name of the transport that served it.
        after: Name of the one that serves it now.
        reason: Why not the first one any more.
        gap_s: How long nothing could be carried: from when the connection was found lost, by either side, or given up,
            until the other transport was ready at this end.
    """

    before: str
    after: str
    reason: str
    gap_s: float

    def __str__(self) -> str:
        change = f"transport changed from {self.before} to {self.after}, {self.gap_s:.3f} s without service"
        return f"{change}: {self._ends('and')}: {self.before}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SamplesLost(EndpointEvent):
    """Samples of a match did not, and will not, arrive.

    Attributes:
        count: How many since the last such event of this match and cause.
        cause: Why.
    """

    count: int
    cause: LossCause

    def __str__(self) -> str:
        noun = "sample" if self.count == 1 else "samples"
        return f"{self.count} {noun} lost ({_CAUSES[self.cause]}): {self._ends('and')}"


@dataclass(frozen=True, slots=True)
class DeadlineMissed(EndpointEvent):
    """No sample was published, or none arrived, within the deadline of the local end's profile.

    Attributes:
        total_count: Deadlines missed by this endpoint (and from this remote, where given) so far.
    """

    total_count: int

    def __str__(self) -> str:
        promised = "" if self.local.qos.deadline_s is None else f" of {self.local.qos.deadline_s:g} s"
        return f"deadline{promised} missed ({self.total_count} in all): {self._ends('waiting for')}"


@dataclass(frozen=True, slots=True)
class LivelinessLost(EndpointEvent):
    """A publisher gave no sign of life within its lease.

    At the publisher `local` is that publisher and `remote` is None; at a subscription `remote` is it.
    """

    def __str__(self) -> str:
        lease_s = self.local.qos.lease_s
        promised = "" if lease_s is None else f" for {lease_s:g} s"
        return f"liveliness lost, no sign of life{promised}: {self._ends('waiting for')}"


@dataclass(frozen=True, slots=True)
class PeerFaulted(Event):
    """Another process broke the rules and was disconnected; all of its matches end.

    Attributes:
        pid: Its process id as seen from here; 0 if it is outside of this pid namespace.
        reason: What it did.
        local: The endpoint of this node that was concerned, or None if it was no particular one.
        remote: The peer's endpoint, likewise.
    """

    pid: int
    reason: str
    local: EndpointInfo | None = None
    remote: EndpointInfo | None = None

    @property
    def topic(self) -> str | None:
        """The absolute name of the topic, or None if no particular one was concerned."""
        return None if self.local is None else self.local.topic

    def __str__(self) -> str:
        ends = " and ".join(str(end) for end in (self.local, self.remote) if end is not None)
        return f"peer with pid {self.pid} broke the rules and was disconnected: {self.reason}{ends and f' ({ends})'}"


def _type_of(endpoint: EndpointInfo) -> str:
    # The hash tells apart two versions of a type that share a name.
    return f"{endpoint.type_name} ({endpoint.type_hash[:8]})"

"""Whether a publisher and a subscription match, and what their match is then like. Pure.

The order of the questions is DDS's: same topic, same type, compatible quality of service.
"""

from __future__ import annotations

from dataclasses import dataclass

from lunar.graph.descriptions import EndpointInfo
from lunar.graph.schemas import TypeVerdict
from lunar.qos import Incompatibility, incompatibilities

__all__ = ["Compatible", "IncompatibleQoS", "MatchDecision", "NoRelation", "TypeMismatch", "match"]


@dataclass(frozen=True, slots=True)
class NoRelation:
    """The two ends are on different topics; there is nothing to tell anybody."""


@dataclass(frozen=True, slots=True)
class Compatible:
    """The two ends match.

    Attributes:
        queue_depth: Samples that the match's queue holds at most: the subscription's depth.
        waits: True if the publisher waits when the queue is full, because both ends are reliable
            and keep all; else the oldest sample not yet taken is overwritten and counted.
    """

    queue_depth: int
    waits: bool


@dataclass(frozen=True, slots=True)
class IncompatibleQoS:
    """Same topic and type, but the publisher offers less than the subscription requests.

    Attributes:
        publisher: The end that offers.
        subscription: The end that requests.
        incompatibilities: Each policy that falls short; never empty.
    """

    publisher: EndpointInfo
    subscription: EndpointInfo
    incompatibilities: tuple[Incompatibility, ...]

    @property
    def text(self) -> str:
        """A sentence that names both ends and each policy."""
        reasons = "; ".join(found.text for found in self.incompatibilities)
        return f"incompatible QoS between {self.publisher} and {self.subscription}: {reasons}"


@dataclass(frozen=True, slots=True)
class TypeMismatch:
    """Same topic, but the two ends carry different message types.

    Attributes:
        publisher: One end.
        subscription: The other.
        differences: Field by field, as the end sees it that judges; empty where the types have different names, or one
            is not known.
    """

    publisher: EndpointInfo
    subscription: EndpointInfo
    differences: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """A sentence that names both ends and both types."""
        theirs = f"{_type_of(self.publisher)} published, {_type_of(self.subscription)} subscribed"
        text = f"type mismatch between {self.publisher} and {self.subscription}: {theirs}"
        return "; ".join([text, *self.differences])


MatchDecision = NoRelation | Compatible | IncompatibleQoS | TypeMismatch


def match(publisher: EndpointInfo, subscription: EndpointInfo, verdict: TypeVerdict | None = None) -> MatchDecision:
    """Decides how two endpoints relate.

    Args:
        publisher: An endpoint of kind "publisher".
        subscription: An endpoint of kind "subscription".
        verdict: On their types, where the hashes differ and both schemas are known.

    Returns:
        The first of these that holds: `NoRelation`, `TypeMismatch`, `IncompatibleQoS`, `Compatible`.

    Raises:
        ValueError: The two are not of those kinds.
    """
    if (publisher.kind, subscription.kind) != ("publisher", "subscription"):
        raise ValueError(f"a publisher and a subscription are needed, not {publisher.kind} and {subscription.kind}")
    if publisher.topic != subscription.topic:
        return NoRelation()
    if publisher.type_hash != subscription.type_hash and (verdict is None or not verdict.compatible):
        return TypeMismatch(publisher, subscription, () if verdict is None else verdict.differences)
    offered, requested = publisher.qos, subscription.qos
    found = incompatibilities(offered, requested)
    if found:
        return IncompatibleQoS(publisher, subscription, found)
    # A reliable offer alone is not enough: a keep_last end has agreed to lose what is outdated.
    waits = all(qos.reliability == "reliable" and qos.history == "keep_all" for qos in (offered, requested))
    return Compatible(queue_depth=requested.depth, waits=waits)


def _type_of(endpoint: EndpointInfo) -> str:
    # The hash tells apart two versions of a type that share a name.
    return f"{endpoint.type_name} ({endpoint.type_hash[:8]})"

"""What `Publisher.statistics()` and `Subscription.statistics()` return: every loss under its cause.

All counts start at zero when the endpoint (or the match) is created and never go back, unless the
field says that it is the present state. A loss has one of five causes:

- overwritten: under keep_last, a newer sample took its place before it was taken;
- held: the subscription kept so many samples that no more could be handed to it;
- expired: it was older than the publisher's lifespan when its turn came;
- network: it was lost on its way between two hosts, which only best-effort delivery allows;
- invalid: it came from another host and is not what its message type says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = [
    "MatchStatistics",
    "PublisherStatistics",
    "SubscriptionMatchStatistics",
    "SubscriptionStatistics",
]


@dataclass(frozen=True, slots=True)
class MatchStatistics:
    """A publisher's side of one match.

    Attributes:
        subscription_id: The subscription at the other end.
        node_name: Full name of that subscription's node.
        pid: Process id of that subscription.
        queued: Samples in the queue now, not yet taken.
        held: Samples taken and not yet released now.
        lost_overwritten: Samples lost because newer ones overwrote them.
        lost_held: Samples lost because the subscription holds too many.
        lost_expired: Samples lost because they outlived their lifespan.
        lost_network: Samples lost on the way between two hosts.
        waits: How often this match made the publisher wait.
    """

    subscription_id: str
    node_name: str
    pid: int
    queued: int
    held: int
    lost_overwritten: int
    lost_held: int
    lost_expired: int
    waits: int
    lost_network: int = 0

    @property
    def lost(self) -> int:
        """Samples that this match lost, whatever the cause."""
        return self.lost_overwritten + self.lost_held + self.lost_expired + self.lost_network

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values, `lost` included."""
        return {**asdict(self), "lost": self.lost}


@dataclass(frozen=True, slots=True)
class PublisherStatistics:
    """What a publisher did so far, and how it stands.

    Attributes:
        topic: Absolute name of the topic.
        published: Samples published, each counted once however many subscriptions there are.
        published_bytes: Their payload bytes.
        waits: Publishes that had to wait.
        pool_bytes: Memory that the publisher's pool has now.
        lost: Samples lost over all matches, also those that have ended.
        matches: The matches that exist now.
    """

    topic: str
    published: int
    published_bytes: int
    waits: int
    pool_bytes: int
    lost: int
    matches: tuple[MatchStatistics, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values."""
        return {**asdict(self), "matches": [match.to_dict() for match in self.matches]}


@dataclass(frozen=True, slots=True)
class SubscriptionMatchStatistics:
    """A subscription's side of one match.

    Attributes:
        publisher_id: The publisher at the other end.
        node_name: Full name of that publisher's node.
        pid: Process id of that publisher.
        received: Samples taken from it.
        lost_overwritten: Samples lost because newer ones overwrote them.
        lost_held: Samples lost because this subscription holds too many.
        lost_expired: Samples lost because they outlived their lifespan.
        lost_network: Samples lost on the way between two hosts.
        lost_invalid: Samples from another host that are not what the message type says.
    """

    publisher_id: str
    node_name: str
    pid: int
    received: int
    lost_overwritten: int
    lost_held: int
    lost_expired: int
    lost_network: int = 0
    lost_invalid: int = 0

    @property
    def lost(self) -> int:
        """Samples that this match lost, whatever the cause."""
        known = self.lost_overwritten + self.lost_held + self.lost_expired
        return known + self.lost_network + self.lost_invalid

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values, `lost` included."""
        return {**asdict(self), "lost": self.lost}


@dataclass(frozen=True, slots=True)
class SubscriptionStatistics:
    """What a subscription received so far, and what it missed.

    Attributes:
        topic: Absolute name of the topic.
        received: Samples taken, over all matches, also those that have ended.
        received_bytes: Their payload bytes.
        lost_overwritten: Samples lost because newer ones overwrote them.
        lost_held: Samples lost because this subscription holds too many.
        lost_expired: Samples lost because they outlived their lifespan.
        lost_network: Samples lost on the way between two hosts.
        lost_invalid: Samples from another host that are not what the message type says.
        matches: The matches that exist now.
    """

    topic: str
    received: int
    received_bytes: int
    lost_overwritten: int
    lost_held: int
    lost_expired: int
    matches: tuple[SubscriptionMatchStatistics, ...] = ()
    lost_network: int = 0
    lost_invalid: int = 0

    @property
    def lost(self) -> int:
        """Samples lost, whatever the cause."""
        known = self.lost_overwritten + self.lost_held + self.lost_expired
        return known + self.lost_network + self.lost_invalid

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values, `lost` included."""
        return {**asdict(self), "lost": self.lost, "matches": [match.to_dict() for match in self.matches]}

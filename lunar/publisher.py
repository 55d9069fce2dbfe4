"""Publisher: the sending end of a topic."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lunar._native._bus import Writer
from lunar.errors import ResourceExhausted
from lunar.graph.descriptions import EndpointInfo
from lunar.graph.endpoints import LocalPublisher, PublisherMatch
from lunar.qos import spin_ns
from lunar.statistics import MatchStatistics, PublisherStatistics

if TYPE_CHECKING:
    from lunar._native._bus import MessageLoan
    from lunar.events import Event
    from lunar.graph.participant import Participant
    from lunar.messages import MessageType
    from lunar.qos import QoS

__all__ = ["MessagePublisher", "Publisher"]

T = TypeVar("T")
M = TypeVar("M")


class Publisher(Writer[T]):
    """Publishes messages to a topic; made by `Node.create_publisher`.

    `publish`, `publish_nowait`, `publish_blocking`, `publish_many`, `publish_all` and `loan` are inherited from the
    native type. `await publish(...)` waits only where the profiles of both ends say that nothing may be lost (reliable
    and keep_all) and a subscription has no room; otherwise it is done when it returns. Cancelling it while it waits
    publishes nothing. Raises ClosedError after `close`, ResourceExhausted when a limit of memory is reached.
    """

    def __init__(
        self,
        participant: Participant,
        message: MessageType,
        topic: str,
        qos: QoS,
        node_name: str,
        notify: Callable[[Event], None],
        on_close: Callable[[Publisher[T]], None],
    ) -> None:
        self._participant = participant
        self._on_close = on_close
        history_depth = qos.depth if qos.durability == "transient_local" else 0
        super().__init__(
            message.encoder(),
            spin_ns(qos.resources),
            history_depth,
            participant.config.pool_bytes,
            participant.report_fault,
            self._grow,
            self._report_losses,
        )
        info = EndpointInfo(
            id=os.urandom(16).hex(),
            kind="publisher",
            topic=topic,
            type_name=message.name,
            type_hash=message.hash,
            qos=qos,
            node_name=node_name,
            pid=os.getpid(),
        )
        end = participant.transport.open_publisher(info.id, participant.config.pool_bytes)
        end.bind(self)  # type: ignore[arg-type]
        self._local = LocalPublisher(info, self, end, notify, message.described)  # type: ignore[arg-type]
        participant.add_publisher(self._local)

    @property
    def topic(self) -> str:
        """The absolute name of the topic."""
        return self._local.info.topic

    @property
    def qos(self) -> QoS:
        """The profile that it offers."""
        return self._local.info.qos

    @property
    def id(self) -> str:
        """Its id, as in `SampleInfo.publisher_id`."""
        return self._local.info.id

    @property
    def subscriber_count(self) -> int:
        """How many subscriptions it is matched with."""
        return self._local.count.value

    async def wait_for_subscribers(self, count: int = 1, timeout_s: float | None = None) -> None:
        """Waits until at least `count` subscriptions are matched.

        Raises:
            TimeoutError: They were not within `timeout_s` seconds.
            ClosedError: It was closed before or meanwhile.
        """
        await self._local.count.wait_for(count, timeout_s, f"subscriptions of {self.topic} matched")

    def wait_for_subscribers_blocking(self, count: int = 1, timeout_s: float | None = None) -> None:
        """As `wait_for_subscribers`, for threads without a loop."""
        self._local.count.wait_for_blocking(count, timeout_s, f"subscriptions of {self.topic} matched")

    def assert_liveliness(self) -> None:
        """Gives a sign of life without publishing, for liveliness="manual_by_topic".

        Call it as often as you like: other hosts are told of it at most four times a lease.
        """
        self._assert_alive()
        self._participant.report_sign(self._local)

    def statistics(self) -> PublisherStatistics:
        """What was published, waited for and lost so far, also by match."""
        with self._local.lock:
            present, ended = list(self._local.matches.values()), sum(self._local.ended_lost.values())
        matches = tuple(_match_statistics(match) for match in present)
        return PublisherStatistics(
            topic=self.topic,
            published=self._published,
            published_bytes=self._published_bytes,
            waits=self._waits,
            pool_bytes=self._pool_bytes,
            lost=ended + sum(match.lost for match in matches),
            matches=matches,
        )

    def _grow(self, size_class: int, chunk_bytes: int) -> None:
        try:
            self._local.end.grow(size_class, chunk_bytes)
        except ResourceExhausted as error:
            holders = [
                f"{match.remote} holds {match.native.held} and has {match.native.queued} queued"
                for match in list(self._local.matches.values())
                if match.native.held or match.native.queued
            ]
            reason = "; ".join([f"publishing to {self.topic}: {error.reason}", *holders])
            raise ResourceExhausted(reason, error.remedy) from error

    def _report_losses(self) -> None:
        self._participant.report_losses(self._local)

    def close(self) -> None:
        """Takes the publisher back. What was published stays receivable; a second call does nothing."""
        if not self._closed:
            self._close()
            self._participant.remove_endpoint(self._local.info)
            self._on_close(self)

    def __repr__(self) -> str:
        return f"<{'closed ' if self._closed else ''}Publisher of {self.topic}>"


class MessagePublisher(Publisher[M]):
    """A publisher of messages of a class.

    Its `loan` takes the values of fields by their names, of a vector of scalars also its length, and lends a message;
    see `MessageLoan`. Raises FieldError for a value that is not what its field holds.
    """

    if TYPE_CHECKING:  # as Writer.loan, which takes the fields of what its encoder is of

        def loan(self, /, **fields: object) -> MessageLoan[M]:  # type: ignore[override]  # bytes are loaned by their size
            """A message in the publisher's memory, to be filled in a `with` or `async with` block; see `MessageLoan`.

            Args:
                **fields: Values; of a vector of scalars also its length.

            Raises:
                FieldError: A value is not what its field holds.
            """


def _match_statistics(match: PublisherMatch) -> MatchStatistics:
    native, remote, lost = match.native, match.remote, match.losses()
    return MatchStatistics(
        subscription_id=remote.id,
        node_name=remote.node_name,
        pid=remote.pid,
        queued=native.queued,
        held=native.held,
        lost_overwritten=lost["overwritten"],
        lost_held=lost["held"],
        lost_expired=lost["expired"],
        lost_network=lost.get("network", 0),
        waits=native.waits,
    )

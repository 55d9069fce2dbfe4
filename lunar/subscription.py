"""Subscription: the receiving end of a topic."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from lunar._native._bus import Reader
from lunar.errors import ClosedError
from lunar.graph.descriptions import EndpointInfo
from lunar.graph.endpoints import LocalSubscription, SubscriptionMatch
from lunar.qos import spin_ns
from lunar.statistics import SubscriptionMatchStatistics, SubscriptionStatistics

if TYPE_CHECKING:
    from lunar.events import Event
    from lunar.graph.participant import Participant
    from lunar.messages import MessageType
    from lunar.qos import QoS

__all__ = ["Subscription"]

T_co = TypeVar("T_co", covariant=True)


class Subscription(Reader[T_co]):
    """Receives a topic's messages; made by `Node.create_subscription`.

    Iterate (`async for message in subscription`), or use `receive`, `receive_nowait`, `receive_blocking`,
    `receive_many`, `receive_many_blocking` or `take`, all inherited from the native type. A message of type `bytes` is
    a read-only memoryview on the sender's memory; the sample stays alive as long as any view of it does, and no
    longer. Cancelling a wait loses nothing. Iteration ends when the subscription is closed; other calls then raise
    ClosedError.

    One subscription is waited for in one event loop or one thread at a time.
    """

    def __init__(
        self,
        participant: Participant,
        message: MessageType,
        topic: str,
        qos: QoS,
        node_name: str,
        notify: Callable[[Event], None],
        on_close: Callable[[Subscription[T_co]], None],
        *,
        verify: bool = False,
    ) -> None:
        self._participant = participant
        self._on_close = on_close
        self._delivery: asyncio.Task[None] | None = None
        decode = message.decoder(verify=verify)
        super().__init__(decode, spin_ns(qos.resources), participant.report_fault, self._report_losses)
        info = EndpointInfo(
            id=os.urandom(16).hex(),
            kind="subscription",
            topic=topic,
            type_name=message.name,
            type_hash=message.hash,
            qos=qos,
            node_name=node_name,
            pid=os.getpid(),
        )
        self._local = LocalSubscription(info, self, notify, message.described)
        check = message.decoder(verify=True)
        if check is not None:
            self._local.check = lambda payload: check(memoryview(payload))
        participant.add_subscription(self._local)

    @property
    def topic(self) -> str:
        """The absolute name of the topic."""
        return self._local.info.topic

    @property
    def qos(self) -> QoS:
        """The profile that it requests."""
        return self._local.info.qos

    @property
    def id(self) -> str:
        """Its id."""
        return self._local.info.id

    @property
    def publisher_count(self) -> int:
        """How many publishers it is matched with."""
        return self._local.count.value

    async def wait_for_publishers(self, count: int = 1, timeout_s: float | None = None) -> None:
        """Waits until at least `count` publishers are matched.

        Raises:
            TimeoutError: They were not within `timeout_s` seconds.
            ClosedError: It was closed before or meanwhile.
        """
        await self._local.count.wait_for(count, timeout_s, f"publishers of {self.topic} matched")

    def wait_for_publishers_blocking(self, count: int = 1, timeout_s: float | None = None) -> None:
        """As `wait_for_publishers`, for threads without a loop."""
        self._local.count.wait_for_blocking(count, timeout_s, f"publishers of {self.topic} matched")

    def statistics(self) -> SubscriptionStatistics:
        """What was received and lost so far, also by match."""
        local = self._local
        with local.lock:
            present, ended = list(local.matches.values()), dict(local.ended_lost)
        matches = tuple(_match_statistics(match) for match in present)
        return SubscriptionStatistics(
            topic=self.topic,
            received=self._received,
            received_bytes=self._received_bytes,
            lost_overwritten=ended.get("overwritten", 0) + sum(match.lost_overwritten for match in matches),
            lost_held=ended.get("held", 0) + sum(match.lost_held for match in matches),
            lost_expired=self._expired,  # also of publishers that are gone, when their samples' turn came
            lost_network=ended.get("network", 0) + sum(match.lost_network for match in matches),
            lost_invalid=ended.get("invalid", 0) + sum(match.lost_invalid for match in matches),
            matches=matches,
        )

    def _start_delivery(self, callback: Callable[[T_co], Awaitable[None] | None]) -> None:
        self._delivery = asyncio.create_task(self._deliver_to(callback), name=f"deliver {self.topic}")

    async def _deliver_to(self, callback: Callable[[T_co], object]) -> None:
        while True:
            try:
                await self._readable()
            except ClosedError:
                return
            try:
                answer = self._deliver(callback)
                if answer is not None and inspect.isawaitable(answer):
                    await answer
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._report_callback(callback, error)  # something that the callback awaited was cancelled
            except Exception as error:  # noqa: BLE001 - it goes to the loop's exception handler
                self._report_callback(callback, error)

    def _report_callback(self, callback: object, error: BaseException) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"the callback of {self!r} failed", "exception": error, "callback": callback}
        )

    def _report_losses(self) -> None:
        self._participant.report_losses(self._local)

    def close(self) -> None:
        """Takes the subscription back and ends iterations over it; a second call does nothing."""
        if self._closed:
            return
        self._close()
        self._participant.bells.kick_all()
        self._participant.remove_endpoint(self._local.info)
        self._on_close(self)
        self._delivery = None

    def __repr__(self) -> str:
        return f"<{'closed ' if self._closed else ''}Subscription of {self.topic}>"


def _match_statistics(match: SubscriptionMatch) -> SubscriptionMatchStatistics:
    remote, lost = match.remote, match.losses()
    return SubscriptionMatchStatistics(
        publisher_id=remote.id,
        node_name=remote.node_name,
        pid=remote.pid,
        received=match.native.received,
        lost_overwritten=lost["overwritten"],
        lost_held=lost["held"],
        lost_expired=lost["expired"],
        lost_network=lost.get("network", 0),
        lost_invalid=lost.get("invalid", 0),
    )

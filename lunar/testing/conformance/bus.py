"""What the checks of the bus need: nodes on two or more hosts, whoever made these.

Nothing here knows `lunar.Node`, which stands above the test kit: these protocols say what of it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from lunar.qos import QoS
from lunar.testing.collector import Collector, HasEvents, collect
from lunar.testing.payload import numbered, read_number

if TYPE_CHECKING:
    from lunar.statistics import PublisherStatistics, SubscriptionStatistics

__all__ = [
    "Bus",
    "BusCheck",
    "BusNode",
    "BusPublisher",
    "BusSubscription",
    "Watch",
    "connect",
    "meet",
    "publish",
    "receive",
    "receive_until",
]

_PATIENCE_S: Final = 30.0


class BusPublisher(Protocol):
    """What is used of a `lunar.Publisher`."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def subscriber_count(self) -> int: ...  # noqa: D102
    def publish(self, message: object, /) -> Awaitable[None]: ...  # noqa: D102
    def publish_nowait(self, message: object, /) -> None: ...  # noqa: D102
    async def wait_for_subscribers(self, count: int = 1, timeout_s: float | None = None) -> None: ...  # noqa: D102
    def assert_liveliness(self) -> None: ...  # noqa: D102
    def statistics(self) -> PublisherStatistics: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class BusSubscription(Protocol):
    """What is used of a `lunar.Subscription` of raw bytes."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def publisher_count(self) -> int: ...  # noqa: D102
    def receive(self) -> Awaitable[memoryview]: ...  # noqa: D102
    async def wait_for_publishers(self, count: int = 1, timeout_s: float | None = None) -> None: ...  # noqa: D102
    def statistics(self) -> SubscriptionStatistics: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class BusNode(HasEvents, Protocol):
    """What is used of a `lunar.Node`."""

    def create_publisher(  # noqa: D102
        self, message: type[bytes], topic: str, *, qos: QoS | None = None
    ) -> BusPublisher: ...
    def create_subscription(  # noqa: D102
        self, message: type[bytes], topic: str, *, qos: QoS | None = None
    ) -> BusSubscription: ...
    def close(self) -> None: ...  # noqa: D102


class Bus(Protocol):
    """Hosts in one domain that the tested transport connects."""

    def node(self, host: str) -> BusNode:
        """Makes a node on a host of that name, which is there from its first node on.

        Nodes on different hosts must meet by the tested transport alone. Whoever gives the bus closes them.
        """


@dataclass(frozen=True, slots=True)
class BusCheck:
    """One of the checks of the bus. Awaited with a bus it raises AssertionError with what is wrong, or returns.

    Attributes:
        run: What it does.
        needs_reliable: Not for a transport whose capabilities promise no reliability.
    """

    run: Callable[[Bus], Awaitable[None]]
    needs_reliable: bool = True

    async def __call__(self, bus: Bus) -> None:
        """Runs it.

        Raises:
            AssertionError: A promise is not kept; the text says which.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.run(bus)
        except TimeoutError as error:
            raise AssertionError(f"{self} took more than {_PATIENCE_S:g} s, or waited in vain: {error}") from error

    def __str__(self) -> str:
        return getattr(self.run, "__name__", repr(self.run))


class Watch:
    """Events of a node by the names of their classes, used as `async with`.

    Args:
        node: The node.
    """

    def __init__(self, node: BusNode) -> None:
        self._collector: Collector[object] = collect(node, object)

    async def __aenter__(self) -> Watch:
        await self._collector.__aenter__()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._collector.__aexit__(None, None, None)

    def seen(self, name: str) -> list[object]:
        """The events of that name so far."""
        return [event for event in self._collector.events if type(event).__name__ == name]

    async def wait_for(self, name: str, count: int = 1) -> list[object]:
        """Waits for so many events of that name."""
        while len(self.seen(name)) < count:
            await self._collector.wait_for(len(self._collector.events) + 1, _PATIENCE_S)
        return self.seen(name)


async def connect(
    bus: Bus, offered: QoS, requested: QoS | None = None, topic: str = "conformance"
) -> tuple[BusPublisher, BusSubscription]:
    """A publisher on one host and a subscription on another, matched."""
    publisher = bus.node("a").create_publisher(bytes, topic, qos=offered)
    subscription = bus.node("b").create_subscription(bytes, topic, qos=requested or offered)
    await meet(publisher, subscription)
    return publisher, subscription


async def meet(publisher: BusPublisher, *subscriptions: BusSubscription) -> None:
    """Waits until both sides of all know of their match."""
    await publisher.wait_for_subscribers(len(subscriptions), timeout_s=_PATIENCE_S)
    for subscription in subscriptions:
        await subscription.wait_for_publishers(timeout_s=_PATIENCE_S)


async def publish(publisher: BusPublisher, numbers: Iterable[int]) -> None:
    """Publishes numbered messages."""
    for number in numbers:
        await publisher.publish(numbered(number))


async def receive(subscription: BusSubscription, count: int) -> list[int]:
    """Receives so many; their numbers."""
    return [read_number(await subscription.receive()) for _ in range(count)]


async def receive_until(subscription: BusSubscription, last: int) -> list[int]:
    """Receives up to a number; the numbers of all."""
    received = [read_number(await subscription.receive())]
    while received[-1] < last:
        received.append(read_number(await subscription.receive()))
    return received

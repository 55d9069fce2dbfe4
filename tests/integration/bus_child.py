"""Another process on the bus: one node, whose endpoints do what the test asks for.

Usage: bus_child.py NAME [LOOP]. Endpoints are named by their topic. Messages are numbered payloads of `lunar.testing`.
"""

import asyncio
import sys

import lunar
from lunar import events, testing
from lunar.events import Event
from lunar.loop import LoopKind
from lunar.testing import NUMBERED_BYTES, numbered, read_number

Described = dict[str, object]


class BusChild:
    """The commands, by the names of the methods."""

    def __init__(self, node: lunar.Node, seen: testing.Collector[Event]) -> None:
        self._node = node
        self._seen = seen
        self._publishers: dict[str, lunar.Publisher[object]] = {}
        self._subscriptions: dict[str, lunar.Subscription[memoryview]] = {}
        self._held: list[lunar.Sample[memoryview]] = []
        self._publishing: asyncio.Future[None] | None = None

    def publisher(self, topic: str, qos: Described) -> str:
        self._publishers[topic] = self._node.create_publisher(bytes, topic, qos=lunar.QoS.from_dict(qos))
        return self._publishers[topic].id

    def subscription(self, topic: str, qos: Described) -> str:
        self._subscriptions[topic] = self._node.create_subscription(bytes, topic, qos=lunar.QoS.from_dict(qos))
        return self._subscriptions[topic].id

    async def wait_for_subscribers(self, topic: str, count: int = 1) -> None:
        await self._publishers[topic].wait_for_subscribers(count, timeout_s=10)

    async def wait_for_publishers(self, topic: str, count: int = 1) -> None:
        await self._subscriptions[topic].wait_for_publishers(count, timeout_s=10)

    async def publish(self, topic: str, first: int, count: int, size_bytes: int = NUMBERED_BYTES) -> None:
        publisher = self._publishers[topic]
        for number in range(first, first + count):
            await publisher.publish(numbered(number, size_bytes))

    def publish_meanwhile(self, topic: str, first: int, count: int) -> None:
        """The same beside other commands; `published` waits for it."""
        self._publishing = asyncio.ensure_future(self.publish(topic, first, count))

    async def published(self) -> None:
        assert self._publishing is not None
        await self._publishing

    async def receive(self, topic: str, count: int, within_s: float = 20) -> list[int]:
        """Receives so many, checks each and returns their numbers."""
        async with asyncio.timeout(within_s):
            return [read_number(await self._subscriptions[topic].receive()) for _ in range(count)]

    async def receive_until(self, topic: str, last: int) -> list[int]:
        """Receives up to the message with this number, and returns what came."""
        got: list[int] = []
        async with asyncio.timeout(20):
            while not got or got[-1] != last:
                got.append(read_number(await self._subscriptions[topic].receive()))
        return got

    async def wait_for_losses(self, count: int) -> None:
        """Returns when the node was told of so many losses."""

        def told() -> int:
            return sum(event.count for event in self._seen.events if isinstance(event, events.SamplesLost))

        async with asyncio.timeout(20):
            while told() < count:
                await self._seen.wait_for(len(self._seen.events) + 1, timeout_s=20)

    async def echo(self, ping: str, pong: str, count: int) -> None:
        """Publishes what it receives."""
        async with asyncio.timeout(20):
            for _ in range(count):
                await self._publishers[pong].publish(await self._subscriptions[ping].receive())

    def echo_blocking(self, ping: str, pong: str, count: int) -> None:
        """The same without the loop, as fast as it can."""
        for _ in range(count):
            self._publishers[pong].publish_nowait(self._subscriptions[ping].receive_blocking(timeout_s=20))

    async def hold(self, topic: str, count: int) -> list[int]:
        """Receives so many and keeps them."""
        async with asyncio.timeout(20):
            while len(self._held) < count:
                self._held += await self._subscriptions[topic].receive_many(count - len(self._held))
        return self.read_held()

    def read_held(self) -> list[int]:
        return [read_number(sample.message) for sample in self._held]

    def drop(self) -> None:
        self._held.clear()

    def assert_liveliness(self, topic: str) -> None:
        self._publishers[topic].assert_liveliness()

    def publisher_statistics(self, topic: str) -> Described:
        return self._publishers[topic].statistics().to_dict()

    def subscription_statistics(self, topic: str) -> Described:
        return self._subscriptions[topic].statistics().to_dict()

    async def wait_for_events(self, kind: str, count: int = 1, within_s: float = 10) -> list[str]:
        """The texts of the events of one kind, as soon as there are so many."""

        def found() -> list[str]:
            return [str(event) for event in self._seen.events if type(event).__name__ == kind]

        async with asyncio.timeout(within_s):
            while len(found()) < count:
                await self._seen.wait_for(len(self._seen.events) + 1, timeout_s=10)
        return found()

    def close_transport(self, name: str) -> None:
        """Closes this process's engine of a transport."""
        presence = self._node._participant._presence
        assert presence is not None
        presence.network.hosts[name].fail("it was closed")

    def break_transport(self, name: str) -> None:
        """Has an engine fail in its next turn."""
        presence = self._node._participant._presence
        assert presence is not None
        host = presence.network.hosts[name]

        def fail() -> None:
            raise OSError("broken by the test")

        host.engine.work = fail  # type: ignore[method-assign]

    def close_publisher(self, topic: str) -> None:
        self._publishers.pop(topic).close()

    def close_subscription(self, topic: str) -> None:
        self._subscriptions.pop(topic).close()

    async def close_node(self) -> None:
        await self._node.aclose()

    def snapshot(self) -> list[Described]:
        return [node.to_dict() for node in lunar.graph_snapshot().nodes]


async def main(name: str) -> None:
    async with lunar.Node(name) as node, testing.collect(node, events.Event) as seen:
        child = BusChild(node, seen)
        commands = {command: getattr(child, command) for command in dir(child) if not command.startswith("_")}
        await testing.serve(commands)


loops: tuple[LoopKind, ...] = ("auto", "lunar", "asyncio", "uvloop")
loop = next(kind for kind in loops if kind in (*sys.argv[2:], "auto"))
lunar.run(main(sys.argv[1]), loop=loop)

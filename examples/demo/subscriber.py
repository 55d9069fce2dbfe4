"""A subscriber process of the demo: checks every image, reads the telemetry, and tells how long both took to come."""

import argparse
import asyncio
import json
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path

from child import Child
from image import Frame
from publisher import IMAGE_QOS, IMAGE_TOPIC, NAMESPACE, TELEMETRY_QOS, TELEMETRY_TOPIC

import lunar

_AT_ONCE = 64

Samples = lunar.Subscription[memoryview]


class Stream:
    """One topic as this process sees it.

    Args:
        subscription: Where the samples come from.
        look: What to do with a message.
    """

    def __init__(self, subscription: Samples, look: Callable[[memoryview], Awaitable[None]]) -> None:
        self._subscription = subscription
        self._look = look
        self._latencies_ns = array("q")
        self._first_ns = self._last_ns = 0

    async def follow(self) -> None:
        """Takes and looks at what comes, for ever."""
        while True:
            for sample in await self._subscription.receive_many(_AT_ONCE):
                await self._take(sample)
                del sample  # or it would stay taken while we wait for the next

    async def finish(self) -> None:
        """Takes what the publisher left behind."""
        for sample in self._subscription.take(_AT_ONCE):
            await self._take(sample)

    async def _take(self, sample: lunar.Sample[memoryview]) -> None:
        info = sample.info
        self._latencies_ns.append(info.reception_time_ns - info.source_time_ns)
        self._first_ns = self._first_ns or info.source_time_ns
        self._last_ns = info.source_time_ns
        await self._look(sample.message)

    def describe(self) -> dict[str, object]:
        """Returns counts, losses by cause, and latency from publishing to reception in microseconds.

        `span_s` is the time from the first sample's publishing to the last one's.
        """
        span_s = (self._last_ns - self._first_ns) / 1e9
        latencies_ns = sorted(self._latencies_ns)
        last = len(latencies_ns) - 1
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        latency_us = (
            {name: latencies_ns[round(share * last)] / 1e3 for name, share in shares.items()} if last >= 0 else {}
        )
        return {**self._subscription.statistics().to_dict(), "latency_us": latency_us, "span_s": span_s}


class Viewer:
    """What this process does with what it receives."""

    def __init__(self) -> None:
        self.newest: Frame | None = None
        self.intact = self.damaged = 0
        self.host: dict[str, object] = {}

    async def look_at_image(self, message: memoryview) -> None:
        """Checks an image. The frame that is kept keeps its sample, in the publisher's memory."""
        frame = Frame.of(message)
        if await asyncio.to_thread(frame.is_intact):
            self.intact += 1
            self.newest = frame
        else:
            self.damaged += 1

    async def look_at_telemetry(self, message: memoryview) -> None:
        """Reads the host's figures."""
        self.host = json.loads(bytes(message))


async def subscribe(child: Child, name: str, picture: Path | None) -> None:
    viewer = Viewer()
    async with lunar.Node(name, namespace=NAMESPACE) as node:
        child.watch_events(node)
        images = Stream(node.create_subscription(bytes, IMAGE_TOPIC, qos=IMAGE_QOS), viewer.look_at_image)
        telemetry = Stream(
            node.create_subscription(bytes, TELEMETRY_TOPIC, qos=TELEMETRY_QOS), viewer.look_at_telemetry
        )

        def report() -> None:
            child.report(
                "subscriber",
                name=name,
                topics=[images.describe(), telemetry.describe()],
                images={"intact": viewer.intact, "damaged": viewer.damaged},
                host=viewer.host,
            )

        await child.run_until_stopped([images.follow(), telemetry.follow()], report)
        await images.finish()
        await telemetry.finish()
        report()
    # The node and the publisher's process are gone by now; the sample is not, as long as somebody looks at it.
    if picture is not None and viewer.newest is not None:
        viewer.newest.save(picture)
        child.report("picture", number=viewer.newest.number, checksum=viewer.newest.checksum)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the node")
    parser.add_argument("--picture", type=Path, help="where to write the last image, if anywhere")
    arguments = parser.parse_args()
    child = Child()
    child.run(subscribe(child, arguments.name, arguments.picture))


if __name__ == "__main__":
    main()

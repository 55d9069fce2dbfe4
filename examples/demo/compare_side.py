"""One of the two processes of the comparison. Both go through the same list of measurements, in lockstep.

The near side measures round trips; the far side, which receives the images, measures those. Each keeps to a core of its
own where there are two, so that no result depends on where the scheduler happens to put them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from typing import Literal

from child import Child
from image import Camera
from links import LIBRARIES, STAMP, TIMEOUT_S, BlockingLink, Library, Side, open_async, open_blocking

import lunar

Work = Literal["image_latency_us", "images_per_s", "blocking_rtt_us", "asyncio_rtt_us"]

WORKS: tuple[Work, ...] = ("image_latency_us", "images_per_s", "blocking_rtt_us", "asyncio_rtt_us")

_PAYLOAD = bytes(64)
_WARM_UP = 200
_ROUND_TRIPS: dict[Work, int] = {"blocking_rtt_us": 2000, "asyncio_rtt_us": 1000}
_IMAGES_WARM_UP = 4
_IMAGES_PACED, _IMAGES_FLAT_OUT = 20, 60


class Measurements:
    """What one side does of each measurement.

    Args:
        side: Which side.
        camera: Where the images come from.
        period_s: Time from one image to the next where they are not sent as fast as can be.
    """

    def __init__(self, side: Side, camera: Camera, period_s: float) -> None:
        self._side: Side = side
        self._period_s = period_s
        # What a driver would have left in the program's memory; as many as may be on their way at once, and more.
        shot = [bytearray(STAMP.size + camera.message_bytes) for _ in range(16 if side == "near" else 0)]
        for number, image in enumerate(shot):
            camera.shoot(number, memoryview(image)[STAMP.size :])
        self._images = shot

    def run(self, work: Work, library: Library, name: str) -> float | None:
        """Does one measurement; the result, or None where the other side has it."""
        if work == "asyncio_rtt_us":
            run = lunar.run if library == "lunar" else asyncio.run
            return run(self._round_trips_async(library, name))
        with open_blocking(library, self._side, name) as link:
            if work == "blocking_rtt_us":
                return self._round_trips(link)
            paced = work == "image_latency_us"
            if self._side == "far":
                return self._receive_images(link, paced)
            self._send_images(link, paced)
            return None

    def _round_trips(self, link: BlockingLink) -> float | None:
        """Returns the median round trip in microseconds."""
        count = _ROUND_TRIPS["blocking_rtt_us"]
        if self._side == "far":
            for _ in range(_WARM_UP + count):
                link.receive()
                link.send(_PAYLOAD)
            return None
        times_ns = []
        for _ in range(_WARM_UP + count):
            start_ns = time.monotonic_ns()
            link.send(_PAYLOAD)
            link.receive()
            times_ns.append(time.monotonic_ns() - start_ns)
        return statistics.median(times_ns[_WARM_UP:]) / 1e3

    async def _round_trips_async(self, library: Library, name: str) -> float | None:
        """As `_round_trips`, with coroutines."""
        count = _ROUND_TRIPS["asyncio_rtt_us"]
        async with asyncio.timeout(2 * TIMEOUT_S), open_async(library, self._side, name) as link:
            if self._side == "far":
                for _ in range(_WARM_UP + count):
                    await link.receive()
                    await link.send(_PAYLOAD)
                return None
            times_ns = []
            for _ in range(_WARM_UP + count):
                start_ns = time.monotonic_ns()
                await link.send(_PAYLOAD)
                await link.receive()
                times_ns.append(time.monotonic_ns() - start_ns)
            return statistics.median(times_ns[_WARM_UP:]) / 1e3

    def _send_images(self, link: BlockingLink, paced: bool) -> None:
        for number in range(_count(paced)):
            image = self._images[number % len(self._images)]
            if paced:
                time.sleep(self._period_s)
            STAMP.pack_into(image, 0, time.monotonic_ns())
            link.send_image(image)
        link.receive()  # the other side has them all

    def _receive_images(self, link: BlockingLink, paced: bool) -> float:
        """Returns the median latency in microseconds, or images a second."""
        latencies_ns, arrivals_ns = [], []
        for _ in range(_count(paced)):
            sent_ns, pixels = link.receive_image()
            arrivals_ns.append(time.monotonic_ns())
            latencies_ns.append(arrivals_ns[-1] - sent_ns)
            del pixels  # or it would be held while we wait for the next
        link.send(b"done")
        if paced:
            return statistics.median(latencies_ns[_IMAGES_WARM_UP:]) / 1e3
        seconds = (arrivals_ns[-1] - arrivals_ns[_IMAGES_WARM_UP]) / 1e9
        return (len(arrivals_ns) - 1 - _IMAGES_WARM_UP) / seconds


def _count(paced: bool) -> int:
    return _IMAGES_WARM_UP + (_IMAGES_PACED if paced else _IMAGES_FLAT_OUT)


def schedule(rounds: int) -> Iterator[tuple[int, Work, Library]]:
    """Yields every measurement of the comparison: interleaved, and each library as often first as second."""
    for round_ in range(rounds):
        for work in WORKS:
            for library in LIBRARIES if round_ % 2 == 0 else reversed(LIBRARIES):
                yield round_, work, library


def keep_to_own_core(side: Side) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0 if side == "near" else 1]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("near", "far"), required=True)
    parser.add_argument("--run", required=True, help="an identifier that only the two sides share")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--width", type=int, required=True, help="of an image, in pixels")
    parser.add_argument("--height", type=int, required=True, help="of an image, in pixels")
    parser.add_argument("--rate", type=float, required=True, help="images a second")
    arguments = parser.parse_args()
    child = Child()
    child.interrupt_when_stopped()
    keep_to_own_core(arguments.side)
    measurements = Measurements(arguments.side, Camera(arguments.width, arguments.height), 1 / arguments.rate)
    for round_, work, library in schedule(arguments.rounds):
        result = measurements.run(work, library, f"{arguments.run}_{work}_{round_}_{library}")
        if result is not None:
            child.report("measured", round=round_, work=work, library=library, value=result)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

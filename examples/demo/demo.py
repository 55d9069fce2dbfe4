"""Streams camera-sized photographs and live telemetry of this host from one process to two, and shows how that goes.

Every image is checked against the checksum that it was sent with, one is written to disk, and at the end the same work
is done with pyzmq. `make demo` runs this; `--help` lists what can be changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from comparison import Comparison
from display import choose_display, summary_lines
from image import checksum_of_file, find_photographs
from processes import ChildFailed, ChildProcess, Report
from progress import Progress
from rich.console import Console

SUBSCRIBERS = ("viewer", "recorder")
PICTURE = Path(__file__).resolve().parents[2] / "build" / "demo" / "received.png"

_START_TIMEOUT_S = 60
_LOOK_EVERY_S = 0.05
_SHOW_EVERY_S = 0.5
_INTERRUPTED = 130


class DemoFailed(Exception):
    """The demo did not do what it should."""


class Cast:
    """The publisher's process and the subscribers'.

    Args:
        progress: Takes in what they report.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._children: list[ChildProcess] = []
        self._followers: list[asyncio.Task[None]] = []

    async def start(self, options: argparse.Namespace) -> None:
        """Starts them all."""
        width, height = options.size
        publisher = ["--subscribers", str(len(SUBSCRIBERS)), "--rate", str(options.rate)]
        await self._start("publisher.py", *publisher, "--width", str(width), "--height", str(height))
        for name in SUBSCRIBERS:
            picture = ["--picture", str(options.picture)] if name == SUBSCRIBERS[-1] else []
            await self._start("subscriber.py", "--name", name, *picture)

    async def _start(self, script: str, *arguments: str) -> None:
        child = await ChildProcess.start(script, *arguments)
        self._children.append(child)
        self._followers.append(asyncio.create_task(self._follow(child)))

    async def _follow(self, child: ChildProcess) -> None:
        async for report in child.reports():
            self._progress.take(report)

    def require_all_alive(self) -> None:
        """Raises what went wrong, if something did."""
        for follower in self._followers:
            if follower.done():
                follower.result()
                raise ChildFailed("a child process ended early")

    async def finish(self) -> None:
        """Ends the publisher first, then the subscribers, which take what it left; waits for their last reports."""
        for child in self._children:
            await child.stop()
        await asyncio.gather(*self._followers)

    async def stop(self) -> None:
        """Makes sure that all have ended."""
        await asyncio.gather(*(child.stop() for child in self._children))
        await asyncio.gather(*self._followers, return_exceptions=True)


async def stream(options: argparse.Namespace, progress: Progress, console: Console) -> None:
    """Runs the streams for as long as was asked for.

    Raises:
        ChildFailed: A process failed.
        DemoFailed: Nothing was received.
    """
    cast = Cast(progress)
    try:
        await cast.start(options)
        begin_s = time.monotonic()
        while not progress.is_under_way(len(SUBSCRIBERS)):
            cast.require_all_alive()
            if time.monotonic() - begin_s > _START_TIMEOUT_S:
                raise DemoFailed(f"nothing was received within {_START_TIMEOUT_S} s")
            await asyncio.sleep(_LOOK_EVERY_S)
        begin_s = time.monotonic()
        with choose_display(console, quiet=options.json) as display:
            while (left_s := begin_s + options.seconds - time.monotonic()) > 0:
                cast.require_all_alive()
                display.show(progress, options.seconds - left_s)
                await asyncio.sleep(min(_SHOW_EVERY_S, left_s))
            await cast.finish()
            display.show(progress, options.seconds)
    finally:
        await cast.stop()


def check(progress: Progress, picture: Path) -> Report:
    """Looks whether what arrived is what was sent.

    Returns:
        What is known of the picture on disk.

    Raises:
        DemoFailed: Nothing arrived, or something else than was sent.
    """
    for name in SUBSCRIBERS:
        if not progress.intact.get(name):
            raise DemoFailed(f"{name} received no image")
        if progress.damaged[name]:
            raise DemoFailed(f"{name} received {progress.damaged[name]} images that differ from what was sent")
    for one in progress.streams.values():
        if not one.received:
            raise DemoFailed(f"{one.subscriber} received nothing on {one.topic}")
    if progress.picture is None:
        raise DemoFailed("no image was written")
    number, checksum = progress.picture["number"], progress.picture["checksum"]
    if checksum_of_file(picture) != checksum:
        raise DemoFailed(f"{picture} differs from image {number} as it was sent")
    return {"path": str(picture), "number": number, "checksum": checksum}


async def compare_with_pyzmq(options: argparse.Namespace, console: Console) -> Comparison:
    """Runs the comparison, and shows that something happens meanwhile."""
    comparison = Comparison(options.rounds)
    with console.status("comparing with pyzmq") as status:
        await comparison.run(options.size, options.rate, lambda step: status.update(f"comparing with pyzmq: {step}"))
    return comparison


def print_lines(console: Console, lines: list[str]) -> None:
    """Prints text as it is, whatever the width of the terminal."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


async def run(options: argparse.Namespace, progress: Progress, console: Console) -> Report:
    """Runs the whole demo; returns what `--json` prints."""
    options.picture.unlink(missing_ok=True)  # an old one must not pass for a new one
    size = f"{options.size[0]} x {options.size[1]}"
    print_lines(
        console, [f"{len(find_photographs())} photographs, shown as {options.rate:g} images a second of {size}"]
    )
    await stream(options, progress, console)
    picture = check(progress, options.picture)
    print_lines(console, [*summary_lines(progress), f"image {picture['number']}, as received: {options.picture}"])
    result = {"seconds": options.seconds, **progress.to_dict(), "picture": picture}
    if options.comparison:
        comparison = await compare_with_pyzmq(options, console)
        print_lines(console, ["", *comparison.lines()])
        result["comparison"] = comparison.to_dict()
    return result


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=10.0, help="how long to stream (default: 10)")
    parser.add_argument("--rate", type=_positive, default=30.0, help="images a second (default: 30)")
    parser.add_argument(
        "--size", type=_size, default=(1920, 1080), metavar="WxH", help="of an image (default: 1920x1080)"
    )
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to write the last image")
    parser.add_argument("--no-comparison", dest="comparison", action="store_false", help="leave pyzmq out")
    parser.add_argument("--rounds", type=_count, default=3, help="of the comparison (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document, at the end")
    return parser.parse_args()


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to 999")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    width, separator, height = text.partition("x")
    if not (separator and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 1920x1080")
    return int(width), int(height)


def main() -> int:
    """Runs the demo; returns the exit code."""
    options, progress = read_options(), Progress()
    console = Console(quiet=options.json)
    try:
        result = asyncio.run(run(options, progress, console))
    except KeyboardInterrupt:
        console.print("interrupted")
        return _INTERRUPTED
    except (ChildFailed, DemoFailed, FileNotFoundError) as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())

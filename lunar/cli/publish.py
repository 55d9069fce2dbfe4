"""`lunar topic pub`: publishes messages on a topic."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lunar.cli import exit_codes, session
from lunar.cli.graph_view import absolute_name
from lunar.cli.output import write_error, write_json, write_note, write_warning
from lunar.cli.payload import parse_hex
from lunar.cli.quantities import format_bytes, format_duration, plural

if TYPE_CHECKING:
    from lunar import Publisher
    from lunar.qos import QoS

_YIELD_EVERY = 256
"""A publisher that never has to wait lets the loop run after so many messages, so that Ctrl-C gets in."""


@dataclass(frozen=True)
class PayloadSource:
    """Where messages come from: exactly one of these.

    Attributes:
        text: The message itself, as text.
        hex_digits: The message as hexadecimal digits.
        file: A file whose content is the message; `-` is stdin.
        size_bytes: Random messages of this size, each one different.
    """

    text: str | None = None
    hex_digits: str | None = None
    file: str | None = None
    size_bytes: int | None = None

    def open(self) -> Callable[[], bytes]:
        """Prepares the messages.

        Returns:
            What makes the next message each time it is called.

        Raises:
            ValueError: Not exactly one source is given, or the hexadecimal digits are none.
            OSError: The file cannot be read.
        """
        given = [value for value in (self.text, self.hex_digits, self.file, self.size_bytes) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of DATA, --hex, --file and --size")
        if self.size_bytes is not None:
            from random import Random

            # For load, not for secrets: twice as fast as the kernel's.
            return partial(Random().randbytes, self.size_bytes)
        payload = self._read()
        return lambda: payload

    def _read(self) -> bytes:
        if self.text is not None:
            return self.text.encode("utf-8", "surrogateescape")  # bytes of the command line that are no UTF-8 stay
        if self.hex_digits is not None:
            return parse_hex(self.hex_digits)
        if self.file == "-":
            return sys.stdin.buffer.read()
        return Path(self.file or "").read_bytes()


@dataclass(frozen=True)
class PublishRequest:
    """What to publish, and how often.

    Attributes:
        topic: The topic as the user wrote it.
        next_payload: Makes the next message.
        qos: What the publisher offers.
        count: End after so many messages; None for no end.
        rate_hz: Messages a second; None for as fast as the profile allows.
        wait_subscribers: Begin when so many subscriptions have matched.
        timeout_s: Give up waiting for them after so many seconds; None to wait for ever.
        keep_alive_s: Stay for so many seconds after the last message.
        as_json: Print the outcome as JSON.
    """

    topic: str
    next_payload: Callable[[], bytes]
    qos: QoS
    count: int | None
    rate_hz: float | None
    wait_subscribers: int
    timeout_s: float | None
    keep_alive_s: float
    as_json: bool


def run_publish(request: PublishRequest) -> int:
    """Publishes until there were enough messages, or Ctrl-C.

    Returns:
        The exit code: not found if too few subscriptions matched in time.
    """
    return session.run(_publish(request, absolute_name(request.topic)))


async def _publish(request: PublishRequest, topic: str) -> int:
    async with session.open_node("pub", report_losses=False) as node:
        publisher = node.create_publisher(bytes, topic, qos=request.qos)
        if not await _find_subscribers(publisher, request, topic):
            return exit_codes.NOT_FOUND
        started_s = time.monotonic()
        try:
            await _publish_paced(publisher, request, started_s)
            await asyncio.sleep(request.keep_alive_s)
        finally:
            _report(publisher, time.monotonic() - started_s, request.as_json)
    return exit_codes.OK


async def _find_subscribers(publisher: Publisher[object], request: PublishRequest, topic: str) -> bool:
    wanted = request.wait_subscribers
    if publisher.subscriber_count >= wanted:
        return True
    write_note(f"waiting for {plural(wanted, 'subscription')} on {topic} (Ctrl-C ends)")
    try:
        await publisher.wait_for_subscribers(wanted, timeout_s=request.timeout_s)
    except TimeoutError:
        found = plural(publisher.subscriber_count, "subscription")
        write_error(f"only {found} on {topic} within {request.timeout_s:g} s, {wanted} wanted; nothing was published")
        return False
    return True


async def _publish_paced(publisher: Publisher[object], request: PublishRequest, started_s: float) -> None:
    published = 0
    while request.count is None or published < request.count:
        if request.rate_hz is not None:
            # From the start, not from the message before: lateness must not add up.
            due_s = started_s + published / request.rate_hz
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        elif published % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        await publisher.publish(request.next_payload())
        published += 1


def _report(publisher: Publisher[object], duration_s: float, as_json: bool) -> None:
    counts = publisher.statistics()
    if as_json:
        write_json(
            {
                "topic": counts.topic,
                "published": counts.published,
                "published_bytes": counts.published_bytes,
                "duration_s": duration_s,
                "waits": counts.waits,
                "lost": counts.lost,
                "subscriptions": [match.to_dict() for match in counts.matches],
            }
        )
        return
    write_note(
        f"published {plural(counts.published, 'message')} ({format_bytes(counts.published_bytes)}) in "
        f"{format_duration(duration_s)} to {plural(len(counts.matches), 'subscription')}"
    )
    for match in counts.matches:
        if match.lost:
            write_warning(
                f"{match.node_name} (pid {match.pid}) lost {plural(match.lost, 'message')}: {match.lost_overwritten:,} "
                f"overwritten, {match.lost_held:,} held back, {match.lost_expired:,} expired"
            )

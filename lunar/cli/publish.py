"""`lunar topic pub`: publishes messages on a topic."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lunar.cli import exit_codes, session
from lunar.cli.output import write_error, write_json, write_note, write_warning
from lunar.cli.quantities import format_bytes, format_duration, plural

if TYPE_CHECKING:
    from lunar import Publisher
    from lunar.cli.message_source import MessageSource
    from lunar.qos import QoS

_YIELD_EVERY = 256
"""A publisher that never has to wait lets the loop run after so many messages, so that Ctrl-C gets in."""


@dataclass(frozen=True)
class PublishRequest:
    """What to publish, and how often.

    Attributes:
        topic: The topic's absolute name.
        source: Where its messages come from.
        qos: What the publisher offers.
        count: End after so many messages; None for no end.
        rate_hz: Messages a second; None for as fast as the profile allows.
        wait_subscribers: Begin when so many subscriptions have matched.
        timeout_s: Give up waiting for them after so many seconds; None to wait for ever.
        keep_alive_s: Stay for so many seconds after the last message.
        as_json: Print the outcome as JSON.
    """

    topic: str
    source: MessageSource
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
    return session.run(_publish(request))


async def _publish(request: PublishRequest) -> int:
    async with session.open_node("pub", report_losses=False) as node:
        publisher: Publisher[object] = node.create_publisher(request.source.message, request.topic, qos=request.qos)
        if not await _find_subscribers(publisher, request):
            return exit_codes.NOT_FOUND
        started_s = time.monotonic()
        try:
            await _publish_paced(publisher, request, started_s)
            await asyncio.sleep(request.keep_alive_s)
        finally:
            _report(publisher, time.monotonic() - started_s, request)
    return exit_codes.OK


async def _find_subscribers(publisher: Publisher[object], request: PublishRequest) -> bool:
    wanted, topic = request.wait_subscribers, request.topic
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
        await publisher.publish(request.source.next_message())
        published += 1


def _report(publisher: Publisher[object], duration_s: float, request: PublishRequest) -> None:
    counts = publisher.statistics()
    if request.as_json:
        write_json(
            {
                "topic": counts.topic,
                "type": request.source.type_name,
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
                f"overwritten, {match.lost_held:,} held back, {match.lost_expired:,} expired, "
                f"{match.lost_network:,} lost on the network"
            )

"""A look at the board without taking part: which processes of other hosts are there."""

from __future__ import annotations

import json
import select
import time
from typing import TYPE_CHECKING
from uuid import uuid4

from lunar.abc import Site
from lunar.errors import PeerFault
from lunar.graph.network.remote import RemoteProcess

if TYPE_CHECKING:
    from collections.abc import Hashable

    from lunar.abc import News
    from lunar.config import Config
    from lunar.graph.network.presence import Surroundings

__all__ = ["take_census"]


def take_census(config: Config, surroundings: Surroundings, own_host_key: str, seconds: float) -> list[RemoteProcess]:
    """Opens the board for a moment. Blocks; posts nothing.

    Args:
        config: Says which domain.
        surroundings: What to take part with.
        own_host_key: Processes of this host are left out.
        seconds: How long to listen.

    Raises:
        TransportUnavailable: Discovery cannot run here.
        ConfigError: A setting has a value that cannot be used.
        ResourceExhausted: A limit was reached.
    """
    site = Site(uuid4().hex, config.domain, surroundings.addresses, surroundings.interfaces, {})
    board = surroundings.discovery(site)
    found: dict[Hashable, RemoteProcess] = {}
    try:
        poll = select.poll()
        poll.register(board.fileno(), select.POLLIN)
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            poll.poll(left_s * 1000)
            for news in board.take():
                _note(found, news)
    finally:
        board.close()
    return [each for each in found.values() if each.host_key != own_host_key]


def _note(found: dict[Hashable, RemoteProcess], news: News) -> None:
    if not news.key:
        found.pop(news.source, None)
    elif news.body is not None and b'"process"' in news.body:
        try:
            record = json.loads(news.body)
            if isinstance(record, dict) and record.get("kind") == "process":
                found[news.source] = RemoteProcess(record)
        except (ValueError, RecursionError, PeerFault):
            return  # who takes part reports it

"""Signs of life that a publisher gives without a message, told to other hosts.

On one host such a sign is a word in shared memory, and costs nothing. Between hosts it is a record on the board, so it
is posted only if it counts: of a publisher whose liveliness is manual and that has promised a lease, if a subscription
on another host holds it to that. What is published tells as much by itself.

The record says how long ago the sign was given, so the other side counts from then and not from when it heard of it:
several signs may share a record without a lease that ends later, or sooner, than it would on one host.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from lunar.graph.network.remote import RemoteProcess

if TYPE_CHECKING:
    from lunar.graph.control import ControlThread
    from lunar.graph.endpoints import LocalPublisher
    from lunar.graph.network.board import Board

__all__ = ["Signs"]

# Signs that come closer together share a record: of each lease this part. The gaps between records are then at most as
# long as those between signs, or this.
_PART_OF_LEASE: Final = 0.25
# Each record wakes every process of the domain.
_LEAST_GAP_S: Final = 0.005


class Signs:
    """Posts the signs of life of this process's publishers.

    Args:
        control: The control thread.
        board: Where they are posted.
    """

    def __init__(self, control: ControlThread, board: Board) -> None:
        self._control, self._board = control, board
        # Publishers whose newest sign is still to be posted. Any thread adds to it, the control thread takes away.
        self._pending: set[str] = set()
        self._posted_s: dict[str, float] = {}  # monotonic
        self._count = 0

    def given(self, local: LocalPublisher) -> None:
        """A publisher gave a sign of life. Any thread."""
        qos, publisher_id = local.info.qos, local.info.id
        if qos.liveliness == "manual_by_topic" and qos.lease_s is not None and publisher_id not in self._pending:
            self._pending.add(publisher_id)
            self._control.post(self._post_in_time, local, qos.lease_s)

    def _post_in_time(self, local: LocalPublisher, lease_s: float) -> None:
        gap_s = max(lease_s * _PART_OF_LEASE, _LEAST_GAP_S)
        wait_s = self._posted_s.get(local.info.id, 0.0) + gap_s - time.monotonic()
        if wait_s > 0:
            self._control.call_later(wait_s, partial(self._post, local))
        else:
            self._post(local)

    def _post(self, local: LocalPublisher) -> None:
        publisher_id = local.info.id
        self._pending.discard(publisher_id)  # before the sign is looked at: a later one is posted anew
        if local.writer._closed or not _somebody_there_wants(local):
            return
        self._posted_s[publisher_id] = time.monotonic()
        self._count += 1
        age_ns = max(0, time.monotonic_ns() - local.writer._newest_ns)
        self._board.post_sign(publisher_id, self._count, age_ns)

    def forget(self, publisher_id: str) -> None:
        """A publisher is closed."""
        self._posted_s.pop(publisher_id, None)


def _somebody_there_wants(local: LocalPublisher) -> bool:
    return any(
        isinstance(match.link, RemoteProcess) and match.remote.qos.lease_s is not None
        for match in local.matches.values()
    )

"""Accounts: what is told of matches whose transport is not simply the first choice. Runs in the control thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lunar.graph.routes import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar.graph.network.moves import Moves, Streams
    from lunar.graph.network.reach import Reach

__all__ = ["Accounts"]

# Several changes are told as one.
_TELL_AFTER_S: Final = 0.05


class Accounts:
    """See `lunar.graph.routes`.

    Args:
        streams: What there is.
        moves: Knows which have changed their transport.
        reach: Knows what does not reach whom.
        call_later: Runs a function in the control thread after so many seconds.
        tell: Called with what is to be told now, if that has changed.
    """

    def __init__(
        self,
        streams: Streams,
        moves: Moves,
        reach: Reach,
        call_later: Callable[[float, Callable[[], object]], object],
        tell: Callable[[tuple[Route, ...]], object],
    ) -> None:
        self._streams, self._moves, self._reach = streams, moves, reach
        self._call_later, self._tell_them = call_later, tell
        self._told: tuple[Route, ...] = ()
        self._is_due = False

    def note(self) -> None:
        """Something has changed."""
        if not self._is_due:
            self._is_due = True
            self._call_later(_TELL_AFTER_S, self._tell)

    def _tell(self) -> None:
        self._is_due = False
        routes = tuple(self._routes())
        if routes != self._told:
            self._told = routes
            self._tell_them(routes)

    def _routes(self) -> list[Route]:
        streams = self._streams
        pairs = [
            (key, stream.local.info.id, remote_id)
            for key, stream in streams.outgoing.items()
            for remote_id in stream.remotes
        ]
        pairs += [(key, key[0], end_id) for key, stream in streams.incoming.items() for end_id in stream.takers]
        routes = []
        for key, publisher_id, subscription_id in pairs:
            change = self._moves.last.get((publisher_id, subscription_id))
            reasons = self._reach.reasons(streams.processes[key])
            if change is not None or reasons:
                routes.append(Route(publisher_id, subscription_id, key[2], reasons, *(change or ())))
        return routes

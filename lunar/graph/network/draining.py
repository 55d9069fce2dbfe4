"""Draining: streams of closed publishers, until the other end has what was published. In the control thread."""

from __future__ import annotations

import time
from functools import partial
from select import POLLIN, poll
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.moves import Key
    from lunar.graph.network.outgoing import OutgoingStream

__all__ = ["Draining"]

_AT_MOST_S: Final = 1.0
_LOOK_AGAIN_S: Final = 0.005


class Draining:
    """See above.

    Args:
        hosts: The engines, by name.
        call_later: Runs a function in the control thread after so many seconds.
        closed: Called with the key of each stream that was closed.

    Attributes:
        streams: What is drained.
    """

    def __init__(
        self,
        hosts: Mapping[str, EngineHost],
        call_later: Callable[[float, Callable[[], object]], object],
        closed: Callable[[Key], object],
    ) -> None:
        self._hosts, self._call_later, self._closed = hosts, call_later, closed
        self.streams: dict[Key, OutgoingStream] = {}

    def drain(self, publisher_id: str, then: Callable[[], object], give_up_at_s: float | None = None) -> None:
        """Waits until other hosts have what a publisher of ours that is closed has published; then ends its streams.

        Args:
            publisher_id: The publisher.
            then: What to do after that: they may hear now that it is gone.
            give_up_at_s: When to do it in any case, monotonic; None: in a second.
        """
        give_up_at_s = time.monotonic() + _AT_MOST_S if give_up_at_s is None else give_up_at_s
        keys = [key for key in self.streams if key[0] == publisher_id]
        if time.monotonic() < give_up_at_s and not all(self.streams[key].is_drained() for key in keys):
            self._call_later(_LOOK_AGAIN_S, partial(self.drain, publisher_id, then, give_up_at_s))
            return
        for key in keys:
            self.streams.pop(key).close()
            self._closed(key)
        then()

    def drain_all(self) -> None:
        """Waits right here, at the end of the process's part, for at most a second."""
        engines = poll()
        for host in self._hosts.values():
            engines.register(host.fileno(), POLLIN)
        give_up_at_s = time.monotonic() + _AT_MOST_S
        while time.monotonic() < give_up_at_s:
            if all(stream.is_drained() for stream in self.streams.values()):
                return
            engines.poll(_LOOK_AGAIN_S * 1000)
            for host in self._hosts.values():
                host.serve()

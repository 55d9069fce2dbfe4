"""Refusals: matches that an engine will not serve now, told to both sides and tried again. In the control thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lunar import events
from lunar.errors import LunarError, PeerFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.endpoints import LocalPublisher, LocalSubscription
    from lunar.graph.matchmaker import Matchmaker
    from lunar.graph.network.remote import RemoteProcess

__all__ = ["Refusals"]

# Until what was refused is tried again: keys may be allowed and limits raised meanwhile.
_TRY_AGAIN_S: Final = 1.0


class Refusals:
    """What is refused at present.

    Args:
        matchmaker: Knows this process's endpoints.
        call_later: Runs a function in the control thread after so many seconds.
        tell: Tells the others why an endpoint of this process cannot match one of theirs: both ids and the reason,
            which is empty once they can.
    """

    def __init__(
        self,
        matchmaker: Matchmaker,
        call_later: Callable[[float, Callable[[], object]], object],
        tell: Callable[[str, str, str], object],
    ) -> None:
        self._matchmaker, self._call_later, self._tell = matchmaker, call_later, tell
        self._reasons: dict[tuple[str, str], str] = {}  # by the ids of our endpoint and of theirs

    def put_off(
        self,
        local: LocalPublisher | LocalSubscription,
        process: RemoteProcess,
        remote: EndpointInfo,
        error: LunarError,
        again: Callable[[], object],
    ) -> None:
        """Tells both sides why there is no match, and tries again."""
        pair = (local.info.id, remote.id)
        reason = (error.reason if isinstance(error, PeerFault) else str(error)) or type(error).__name__
        if self._reasons.get(pair) != reason:
            self._reasons[pair] = reason
            local.notify(events.NoTransport(local.info, remote, reason))
            self._tell(*pair, reason)

        def retry() -> None:
            if self._reasons.get(pair) and process.endpoints.get(remote.id) is remote:
                again()

        self._call_later(_TRY_AGAIN_S, retry)

    def settle(self, own_id: str, their_id: str) -> None:
        """Two ends have a way to each other, or one of them is gone."""
        if self._reasons.pop((own_id, their_id), None) is not None:
            self._tell(own_id, their_id, "")

    def forget(self, endpoint_id: str) -> None:
        """An endpoint is gone."""
        for own_id, their_id in [pair for pair in self._reasons if endpoint_id in pair]:
            self.settle(own_id, their_id)

    def heard(self, process: RemoteProcess, their_id: str, own_id: str, reason: str) -> None:
        """A process says why an endpoint of its own does not match one that may be ours."""
        local = self._matchmaker.publishers.get(own_id) or self._matchmaker.subscriptions.get(own_id)
        remote = process.endpoints.get(their_id)
        if local is not None and remote is not None:
            local.notify(events.NoTransport(local.info, remote, f"{process.host} says: {reason}"))

"""Engine: one process's end of the transport.

It takes part in the domain from its first stream on, so that the domain is set up by whoever knows how. Its threads are
Cyclone's, which do no more for us than to ring a bell.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from lunar import abc
from lunar._native.control import Doorbell
from lunar.errors import ClosedError, PeerFault
from lunar_dds import frames
from lunar_dds.domains import DEFAULT_LEASE_S, Participant, Setup, join
from lunar_dds.endpoints import TAKE_AT_ONCE, Reader
from lunar_dds.incoming import Collector, IncomingEnd
from lunar_dds.kinds import PARCEL
from lunar_dds.links import CONTROL_TERMS, Link, control_topic
from lunar_dds.outgoing import OutgoingEnd, Spread

if TYPE_CHECKING:
    from lunar_dds._cdr import Sample

__all__ = ["Engine"]

_WORK_S: Final = 0.001
_TAKE: Final = 16
_DDS_IS_FULL_S: Final = 0.001
_PARTICIPANT_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


class Engine(abc.Engine):
    """See `lunar.abc.Engine`.

    Args:
        site: The process.
        setup: How it takes part in the domain; None: as the domain is set up already.
        lease_s: See `lunar_dds.domains.join`.
    """

    def __init__(self, site: abc.Site, setup: Setup | None = None, lease_s: float = DEFAULT_LEASE_S) -> None:
        self._site, self._setup, self._lease_s = site, setup, lease_s
        self._bell = Doorbell()
        self._participant: Participant | None = None
        self._control: Reader | None = None
        self._links: dict[str, Link] = {}
        self._spreads: dict[tuple[str, bool], Spread] = {}
        self._collectors: dict[tuple[str, bool], Collector] = {}
        self._outgoing: dict[tuple[bytes, str], OutgoingEnd] = {}
        self._incoming: dict[tuple[bytes, str], IncomingEnd] = {}
        self._stirred: dict[IncomingEnd, None] = {}
        self._full: dict[Spread, None] = {}
        self._sessions = count(secrets.randbelow(2**30) + 1)
        self._faulty = 0
        self._has_matches = self._is_working = self._closed = False

    @property
    def address(self) -> Mapping[str, object]:
        """Who we are: DDS finds the way."""
        return {"participant": self._site.participant_id}

    @property
    def faulty(self) -> int:
        """How many samples were not understood or came from the wrong process, so far."""
        return self._faulty + sum(each.faulty for each in self._collectors.values())

    def fileno(self) -> int:
        """A descriptor that is readable whenever `work` has something to do."""
        return self._bell.fd

    # ---- streams --------------------------------------------------------------------------------------------------

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
        """Opens the sending end of a stream."""
        participant, link = self._reach(stream)
        key = (stream.publisher_id, stream.reliable)
        spread = self._spreads.get(key)
        if spread is None:
            spread = self._spreads[key] = Spread(participant, stream, self._bell, self._full)
        made = OutgoingEnd(stream, handler, spread, link, partial(self._outgoing_closed, key))
        spread.ends[made.remote] = made
        self._outgoing[spread.publisher, stream.remote_id] = made
        self._bell.ring()
        return made

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> abc.Incoming:
        """Opens the receiving end of a stream."""
        participant, link = self._reach(stream)
        key = (stream.topic, stream.reliable)
        collector = self._collectors.get(key)
        if collector is None:
            collector = self._collectors[key] = Collector(participant, stream, Doorbell(self._bell))
            collector.refresh()
        made = IncomingEnd(
            stream,
            handler,
            collector,
            link,
            self._sessions.__next__,
            self._stir,
            partial(self._incoming_closed, key),
        )
        collector.ends[made.publisher] = made
        self._incoming[made.publisher, stream.remote_id] = made
        self._stir(made)
        return made

    def _reach(self, stream: abc.Stream) -> tuple[Participant, Link]:
        if self._closed:
            raise ClosedError("this engine is closed")
        remote_id = stream.address.get("participant")
        if remote_id != stream.remote_id or not _PARTICIPANT_ID.fullmatch(stream.remote_id):
            raise PeerFault("it announces a DDS address that is not its own")
        if self._participant is None:
            joined = join(self._site, self._setup, self._lease_s)
            try:
                topic = control_topic(self._site.participant_id)
                self._control = Reader(joined, topic, PARCEL, CONTROL_TERMS, Doorbell(self._bell))
            except BaseException:
                joined.leave()
                raise
            self._participant = joined
        link = self._links.get(stream.remote_id)
        if link is None:
            link = self._links[stream.remote_id] = Link(self._participant, stream.remote_id, self._bell)
        return self._participant, link

    def _stir(self, end: IncomingEnd) -> None:
        if end not in self._stirred:
            self._stirred[end] = None
            if not self._is_working:
                self._bell.ring()

    def _outgoing_closed(self, key: tuple[str, bool], end: OutgoingEnd) -> None:
        spread = self._spreads[key]
        if self._outgoing.get((spread.publisher, end.stream.remote_id)) is end:
            del self._outgoing[spread.publisher, end.stream.remote_id]
        if spread.ends.get(end.remote) is end:
            del spread.ends[end.remote]
        if not spread.ends:
            del self._spreads[key]
            self._full.pop(spread, None)
            spread.close()

    def _incoming_closed(self, key: tuple[str, bool], end: IncomingEnd) -> None:
        self._stirred.pop(end, None)
        if self._incoming.get((end.publisher, end.stream.remote_id)) is end:
            del self._incoming[end.publisher, end.stream.remote_id]
        collector = self._collectors[key]
        if collector.ends.get(end.publisher) is end:
            del collector.ends[end.publisher]

    # ---- work -----------------------------------------------------------------------------------------------------

    def work(self) -> float | None:
        """Takes in what has arrived and sends what can be sent."""
        if self._closed:
            return None
        self._bell.clear()
        if self._control is None:
            return None
        self._is_working = True
        try:
            return self._do_all(self._control)
        finally:
            self._is_working = False

    def _do_all(self, control: Reader) -> float | None:
        until_s = time.monotonic() + _WORK_S
        has_told, has_matches = control.bell.answer()
        has_matches |= self._bell.answer()[1]
        for collector in self._collectors.values():
            has_matches |= collector.answer_bell()
        if has_matches:
            self._look()
        if has_told:
            self._hear(control)
        has_more = False
        for end in list(self._stirred):
            end.offer_held()
        for key, collector in list(self._collectors.items()):
            if collector.has_work or not collector.ends:
                has_more |= self._collect(key, collector, until_s)
        if self._has_matches and not has_more:
            # What a writer that is gone has written comes before its end.
            self._has_matches = False
            for incoming in list(self._incoming.values()):
                incoming.look()
        wait_s = self._tell()
        return 0.0 if has_more else wait_s

    def _look(self) -> None:
        for link in self._links.values():
            link.refresh()
        for spread in self._spreads.values():
            spread.refresh()
        for collector in self._collectors.values():
            collector.refresh()
        for outgoing in list(self._outgoing.values()):
            outgoing.look()
        self._has_matches = True

    def _collect(self, key: tuple[str, bool], collector: Collector, until_s: float) -> bool:
        if not collector.ends:
            # Not at its last stream's end: that may be within a call of its handler, while samples are lent.
            del self._collectors[key]
            self._faulty += collector.faulty
            collector.close()
            return False
        while collector.work(_TAKE):
            if time.monotonic() >= until_s:
                return True
        return False

    def _hear(self, control: Reader) -> None:
        while taken := control.take(TAKE_AT_ONCE):
            for sample in taken:
                if sample.is_data:
                    self._take_in(sample, control.identity(sample.writer))

    def _take_in(self, sample: Sample, sender: str | None) -> None:
        try:
            frame = frames.parse(sample)
        except PeerFault:
            self._faulty += 1
            return
        if sender is None:
            return  # it is gone
        if frame.kind in (frames.START, frames.END):
            incoming = self._incoming.get((frame.publisher, sender))
            if incoming is not None and not incoming.stream.reliable:
                incoming.told(frame)
            return
        outgoing = self._outgoing.get((frame.publisher, sender))
        if outgoing is None:
            return  # not opened yet, or closed already
        match frame.kind:
            case frames.OPEN:
                outgoing.opened(frame.session, frame.sequence - 1 if frame.sequence else None)
            case frames.ACK:
                outgoing.acknowledged(frame.session, frame.sequence)
            case frames.LOSSES:
                outgoing.has_lost(frame.dropped)
            case frames.CLOSE if frame.session == outgoing.session:
                outgoing.ended()

    def _tell(self) -> float | None:
        waits = []
        for spread in list(self._full):
            if spread.flush():
                del self._full[spread]
                spread.tell_writable()
            if spread in self._full:
                waits.append(_DDS_IS_FULL_S)
        now_s = time.monotonic()
        for end in list(self._stirred):
            wait_s = end.tell(now_s)
            if wait_s is None:
                self._stirred.pop(end, None)
            else:
                waits.append(wait_s)
        return min(waits, default=None)

    # ---- the end --------------------------------------------------------------------------------------------------

    def cut_off_s(self, remote_id: str) -> float:
        """How long that process has not been there, though it was."""
        link = self._links.get(remote_id)
        if link is None or link.lost_at_s is None:
            return 0.0
        return max(time.monotonic() - link.lost_at_s, 1e-9)

    def forget(self, remote_id: str) -> None:
        """That process is gone for good."""
        link = self._links.pop(remote_id, None)
        if link is not None:
            link.close()

    def close(self) -> None:
        """Closes everything."""
        if self._closed:
            return
        for outgoing in list(self._outgoing.values()):
            outgoing.close()
        for incoming in list(self._incoming.values()):
            incoming.close()
        self._closed = True
        for collector in self._collectors.values():
            collector.close()
        for link in self._links.values():
            link.close()
        if self._control is not None:
            self._control.close()
        if self._participant is not None:
            self._participant.leave()
        self._bell.close()

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors and touches nothing that is shared."""
        self._closed = True
        self._bell.close()

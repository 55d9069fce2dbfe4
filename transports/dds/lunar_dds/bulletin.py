"""Bulletin: discovery between hosts as a keyed DDS topic that late joiners read from its beginning.

What a process posts is an instance of the topic `lunar/graph`. DDS keeps the newest of each at its writer, gives it to
whoever joins, and takes a process for gone when its participant's lease ends; if that was a cut in the network, the
process comes again with all that it has posted.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from lunar import abc
from lunar._native.control import Doorbell
from lunar.abc import News
from lunar.errors import LunarError, ResourceExhausted
from lunar.qos import QoS
from lunar_dds.domains import DEFAULT_LEASE_S, Setup, join
from lunar_dds.endpoints import DISPOSED, TAKE_AT_ONCE, Reader, Writer
from lunar_dds.kinds import NOTE
from lunar_dds.terms import Terms

if TYPE_CHECKING:
    from lunar_dds._cdr import Sample

__all__ = ["Bulletin"]

_TOPIC: Final = "lunar/graph"
_TERMS: Final = Terms(QoS(durability="transient_local", depth=1))
_KEY_BYTES: Final = 16
_MAX_BODY_BYTES: Final = 2**20
_LENGTH: Final = struct.Struct("<I")


class Bulletin(abc.Discovery):
    """One process's board in one domain; see `lunar.abc.Discovery`.

    Args:
        site: The process.
        lease_s: How long after its last sign of life the others take it for gone.
        static_peers: Addresses to look for others at, besides multicast.
        multicast: Whether to use multicast at all.

    Attributes:
        faulty: How many samples were not understood, so far.

    Raises:
        TransportUnavailable: DDS cannot run here.
        ConfigError: This process takes part in the domain in another way already.
        ResourceExhausted: A limit was reached; nothing was left open.
    """

    def __init__(
        self,
        site: abc.Site,
        lease_s: float = DEFAULT_LEASE_S,
        static_peers: Sequence[str] = (),
        *,
        multicast: bool = True,
    ) -> None:
        self.faulty = 0
        self._posted: dict[bytes, None] = {}  # in the order of posting
        self._known: set[int] = set()
        self._written_ns = 0
        self._closed = False
        self._bell = Doorbell()
        try:
            self._participant = join(site, Setup(site.addresses, tuple(static_peers), multicast), lease_s)
        except LunarError:
            self._bell.close()
            raise
        try:
            self._reader = Reader(self._participant, _TOPIC, NOTE, _TERMS, self._bell)
            self._writer = Writer(self._participant, _TOPIC, NOTE, _TERMS)
        except LunarError:
            self._participant.leave()
            self._bell.close()
            raise

    def post(self, key: bytes, body: bytes) -> None:
        """Posts something, or replaces it."""
        if len(key) != _KEY_BYTES or len(body) > _MAX_BODY_BYTES:
            raise ResourceExhausted(f"a key of {len(key)} bytes or a body of {len(body)} bytes cannot be posted")
        self._write(key + _LENGTH.pack(len(body)), body)
        self._posted[key] = None

    def withdraw(self, key: bytes) -> None:
        """Takes back what was posted; nothing if there is nothing."""
        if key in self._posted:
            del self._posted[key]
            self._write(key, withdraws=True)

    def _write(self, head: bytes, body: bytes = b"", *, withdraws: bool = False) -> None:
        # By these the readers put the notes of a process in order: DDS does so within a key only.
        self._written_ns = max(self._written_ns + 1, time.time_ns())
        sample = self._writer.prepare(head, body, withdraws=withdraws)
        if not self._writer.write(sample, self._written_ns):
            raise ResourceExhausted("the network does not keep up with what is posted")

    def fileno(self) -> int:
        """A descriptor that is readable while there are news."""
        return self._bell.fd

    def take(self) -> list[News]:
        """What is new since the last call."""
        if self._closed:
            return []
        self._bell.clear()
        self._bell.answer()
        taken: list[Sample] = []
        while batch := self._reader.take(TAKE_AT_ONCE):
            taken += batch
        # After the samples: a writer that is missing here has sent nothing more.
        matched = set(self._reader.present())
        news: list[News] = []
        for sample in sorted(taken, key=_by_time):
            if sample.writer in self._known or sample.writer in matched:
                news += self._read(sample)
        news += [News(writer, b"", None) for writer in self._known - matched]
        self._known = matched
        return news

    def _read(self, sample: Sample) -> list[News]:
        with memoryview(sample) as content:
            key = bytes(content[:_KEY_BYTES])
            if len(key) < _KEY_BYTES:
                self.faulty += 1
                return []
            if sample.state == DISPOSED:
                return [News(sample.writer, key, None)]
            if not sample.is_data:
                return []  # the writer is gone, which its match tells
            (length,) = _LENGTH.unpack_from(content, _KEY_BYTES)
            if length > _MAX_BODY_BYTES:
                self.faulty += 1
                return []
            begin = _KEY_BYTES + _LENGTH.size
            return [News(sample.writer, key, bytes(content[begin : begin + length]))]

    def close(self) -> None:
        """Takes everything back and lets the others know. Again: does nothing."""
        if not self._closed:
            self._closed = True
            with suppress(LunarError):  # the end of the writer tells as much
                for key in reversed(list(self._posted)):
                    self.withdraw(key)
            self._writer.close()
            self._reader.close()
            self._participant.leave()
            self._bell.close()

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors and touches nothing that is shared."""
        self._closed = True
        self._bell.close()


def _by_time(sample: Sample) -> int:
    return sample.timestamp_ns

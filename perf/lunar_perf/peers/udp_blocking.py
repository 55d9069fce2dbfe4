"""Bare UDP with blocking calls: the floor of whatever is carried in datagrams.

Nothing is sent again, and nothing acknowledged.
A message is one datagram, so at most 65,507 bytes. The sending side waits for a first word of the other, so that both
are there; what is lost is counted by its number.
"""

from __future__ import annotations

import contextlib
import socket
import time
from array import array
from threading import Event

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.work import Work

_PORT = 47475
_HELLO_EVERY_S = 0.05
_GIVE_UP_S = 10.0
_BUFFER_BYTES = 8 << 20
_LARGEST_BYTES = 65507
_STRIDE = 64
"""Messages between two looks at the clock."""


def _bound(work: Work) -> socket.socket:
    """The first side's socket, connected to the other, which has said a word."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    made.settimeout(_GIVE_UP_S)
    made.bind((work.address or "127.0.0.1", _PORT))
    _, other = made.recvfrom(64)
    made.connect(other)
    return made


def _connected(work: Work) -> socket.socket:
    """The other side's socket; its first datagram is there."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    made.connect((work.address or "127.0.0.1", _PORT))
    made.settimeout(_HELLO_EVERY_S)
    give_up_s = time.monotonic() + _GIVE_UP_S
    while True:
        with contextlib.suppress(OSError):  # refused, or no answer yet
            made.send(b"hello")
            made.recv(1, socket.MSG_PEEK)
            break
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"nobody answers at {work.address}:{_PORT}")
        time.sleep(_HELLO_EVERY_S / 10)
    made.settimeout(_GIVE_UP_S)
    return made


class UdpBlocking:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Time each send and receive."""
        payload, now = pattern(work.size_bytes), time.perf_counter_ns
        buffer = bytearray(_LARGEST_BYTES)
        round_trips = array("Q", bytes(8 * work.count))
        with _bound(work) as near:
            for _ in range(work.warmup):
                near.send(payload)
                check_echo(payload, near.recv(_LARGEST_BYTES))
            meter.start()
            for index in range(work.count):
                before = now()
                near.send(payload)
                near.recv_into(buffer)
                round_trips[index] = now() - before
            meter.stop()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Send back every datagram that comes."""
        with _connected(work) as far:
            meter.start()
            for _ in range(work.warmup + work.count):
                far.send(far.recv(_LARGEST_BYTES))
            meter.stop()
            done.wait()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Send until the time is over, then the end marker until it has been seen."""
        buffer, pack = stamped(work.size_bytes), STAMP.pack_into
        with _bound(work) as near:
            for index in range(work.warmup):
                pack(buffer, 0, WARM_UP + index)
                near.send(buffer)
            meter.start()
            sent = 0
            deadline = time.perf_counter() + work.duration_s
            while time.perf_counter() < deadline:
                for sequence in range(sent, sent + _STRIDE):
                    pack(buffer, 0, sequence)
                    near.send(buffer)
                sent += _STRIDE
            meter.stop()
            pack(buffer, 0, END)
            while not done.wait(_HELLO_EVERY_S):
                with contextlib.suppress(ConnectionRefusedError):  # it has seen it, and is gone
                    near.send(buffer)
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive until the end marker."""
        tally, expected, unpack, buffer = Tally(), WARM_UP, STAMP.unpack_from, bytearray(_LARGEST_BYTES)
        with _connected(work) as far:
            meter.start()
            while expected != FINISHED:
                far.recv_into(buffer)
                (sequence,) = unpack(buffer)
                if sequence == expected:
                    expected += 1
                else:
                    expected = tally.resync(sequence, expected)
            meter.stop()
        return tally


def open_peer(name: str) -> UdpBlocking:
    """The peer of that name; there is one."""
    return UdpBlocking()

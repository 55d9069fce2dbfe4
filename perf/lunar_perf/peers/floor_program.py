"""The floors in C as peers: each side runs a program of perf/floor, on the core and in the network that it is given.

The two sides first meet by TCP, as a program has to be told the other one's addresses, and that it is ready:

    far: its hardware address ->  <- near: its own;  far: "ready" ->  <- near: how long it took, in s, when it is over

What they send is not looked at. The programs warm up by themselves, and both sides are busy all the time, so that the
CPU time is the time.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import subprocess
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import IO, Final

from lunar_perf.floor_programs import program
from lunar_perf.meter import Meter
from lunar_perf.sequence import Tally
from lunar_perf.side import INTERFACE
from lunar_perf.work import Work

_PROGRAMS: Final = {"af_xdp-raw": "xdp_floor", "udp-polled": "udp_floor"}
_PORT: Final = 47476
_GIVE_UP_S: Final = 10.0
_AGAIN_S: Final = 0.02
_SIOCGIFHWADDR: Final = 0x8927


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Two sides that have met.

    Attributes:
        lines: what the other side says, and is told.
        addresses: how a program is told where it is, and where the other one is.
    """

    lines: IO[str]
    addresses: tuple[str, ...]

    def hear(self) -> str:
        """The other side's next line.

        Raises:
            ConnectionError: it is gone.
        """
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the other side is gone")
        return line.strip()

    def say(self, text: str) -> None:
        """Tell the other side."""
        self.lines.write(text + "\n")
        self.lines.flush()


class FloorProgram:
    """See :class:`lunar_perf.peer.Peer`.

    Args:
        name: of the program.
    """

    def __init__(self, name: str) -> None:
        self._path = str(program(name))

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Have the program ping, and read its times."""
        with _near(work) as meeting:
            times, _ = self._run(meeting, "ping", "--size", work.size_bytes, "--count", work.count, "--print", "all")
            round_trips = array("Q", map(int, times.split()))
            _is_busy(meter, sum(round_trips) / 1e9)
            meeting.say(str(meter.elapsed_s))
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Have the program echo until the other side says that it is over."""
        with _far(work) as meeting, self._started(meeting, "pong", "--size", work.size_bytes):
            _is_busy(meter, float(meeting.hear()))
        done.wait()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Have the program send for the time, ``work.batch`` frames a call."""
        with _near(work) as meeting:
            asked = ("--size", work.size_bytes, "--seconds", work.duration_s, "--burst", work.batch)
            (report,) = self._run(meeting, "flood", *asked)
        _is_busy(meter, work.duration_s)
        done.wait()
        return int(json.loads(report)["frames"])

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Have the program count until nothing comes any more."""
        with (
            _far(work) as meeting,
            self._started(meeting, "sink", "--size", work.size_bytes, "--burst", work.batch) as process,
        ):
            counted = json.loads(_line_of(process))
        frames = int(counted["frames"])
        _is_busy(meter, frames / max(1.0, counted["frames_per_s"]))
        # Nothing says which are missing, only how many: all that came counts as an unbroken sequence.
        return Tally(next_sequence=frames, first_ns=1, last_ns=1 + round(meter.elapsed_s * 1e9))

    def _run(self, meeting: _Meeting, mode: str, *arguments: object) -> Sequence[str]:
        """The near side's program, from its beginning to its end; what it prints, by line."""
        command = [self._path, mode, *meeting.addresses, *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.splitlines()

    @contextmanager
    def _started(self, meeting: _Meeting, mode: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        """The far side's program, which is ready; it ends with the block."""
        command = [self._path, mode, *meeting.addresses, *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                meeting.say(_line_of(process))
                yield process
            finally:
                process.kill()


@contextmanager
def _near(work: Work) -> Iterator[_Meeting]:
    """The side that pings or sends; the other one's program is ready."""
    with socket.create_server((work.address, _PORT)) as listener:
        listener.settimeout(_GIVE_UP_S)
        connection, _ = listener.accept()
    with _met(connection) as meeting:
        if meeting.hear() != "ready":
            raise ConnectionError("the other side's program does not start")
        yield meeting


@contextmanager
def _far(work: Work) -> Iterator[_Meeting]:
    """The other side."""
    with _met(_connected(work.address)) as meeting:
        yield meeting


def _connected(address: str) -> socket.socket:
    give_up_s = time.monotonic() + _GIVE_UP_S
    while True:
        try:
            return socket.create_connection((address, _PORT), timeout=_GIVE_UP_S)
        except ConnectionRefusedError:  # not there yet
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_AGAIN_S)


@contextmanager
def _met(connection: socket.socket) -> Iterator[_Meeting]:
    connection.settimeout(None)
    with connection, connection.makefile("rw") as lines:
        link = os.environ.get(INTERFACE, "lo")
        lines.write(_hardware_address(connection, link) + "\n")
        lines.flush()
        mac, here, there = lines.readline().strip(), connection.getsockname()[0], connection.getpeername()[0]
        yield _Meeting(lines, ("--link", link, "--here", here, "--there", there, "--there-mac", mac))


def _hardware_address(any_socket: socket.socket, interface: str) -> str:
    # Of this process's network: /sys shows the one of whoever mounted it. netdevice(7).
    answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, struct.pack("256s", interface.encode()[:15]))
    return answer[18:24].hex(":")


def _line_of(process: subprocess.Popen[str]) -> str:
    """What a program prints next.

    Raises:
        ChildProcessError: nothing, it has ended; standard error says why.
    """
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise ChildProcessError(f"{process.args!r} ended")
    return line.strip()


def _is_busy(meter: Meter, elapsed_s: float) -> None:
    meter.cpu_s = meter.elapsed_s = elapsed_s


def open_peer(name: str) -> FloorProgram:
    """``af_xdp-raw`` or ``udp-polled``."""
    return FloorProgram(_PROGRAMS[name])

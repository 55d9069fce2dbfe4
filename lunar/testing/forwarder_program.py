"""The program of a forwarder: two packet sockets, and a `Line` for each direction between them.

    forwarder_program.py HOST_SIDE BRIDGE_SIDE SEED IMPAIRMENT

It answers calls as a `Child` does, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from typing import Final

from lunar.testing.impairment import Impairment, Line, is_impaired

# linux/if_packet.h, asm-generic/socket.h
_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_STATISTICS: Final = 6
_PACKET_IGNORE_OUTGOING: Final = 23
_SO_RCVBUFFORCE: Final = 33

_BUFFER_BYTES: Final = 1 << 26
_FRAME_BYTES: Final = 1 << 17
# So many frames of one direction, then the other one has its turn.
_BURST: Final = 64


class _Direction:
    """Frames from one interface to another one."""

    def __init__(self, source: socket.socket, sink: socket.socket, line: Line) -> None:
        self.source = source
        self._sink = sink
        self._line = line

    def carry(self) -> None:
        """Carries what has come in, up to a burst."""
        receive, line = self.source.recv, self._line
        for _ in range(_BURST):
            try:
                frame = receive(_FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:
                return  # the interface went down: nothing comes in until it is up again
            if is_impaired(frame):
                for packet in line.push(frame, time.monotonic()):
                    self._send(packet)
            else:
                line.statistics.unharmed += 1
                self._put(frame)

    def send_due(self) -> None:
        """Sends what has waited long enough."""
        for packet in self._line.due(time.monotonic()):
            self._send(packet)

    def _send(self, packet: bytes) -> None:
        if self._put(packet):
            self._line.statistics.sent += 1
        else:
            self._line.statistics.unsent += 1

    def _put(self, frame: bytes) -> bool:
        try:
            self._sink.send(frame)
        except OSError:  # longer than the MTU, or the interface is down: as on a cable
            return False
        return True

    def next_due_s(self) -> float | None:
        return self._line.next_due_s()

    def statistics(self) -> dict[str, int]:
        # Reading it sets the kernel's counters to zero.
        _, dropped = struct.unpack("II", self.source.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._line.statistics.overrun += dropped
        return self._line.statistics.as_dict()


def _open(interface: str) -> socket.socket:
    # No protocol yet: nothing is received before the socket is bound to its interface and set up.
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    opened.setblocking(False)
    opened.bind((interface, _ETH_P_ALL))
    return opened


def _stay_on_one_core() -> None:
    """Keeps the order of what is sent: a veth pair queues packets for each core, so a move would let some overtake."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # several forwarders share the cores out


def _answer(directions: list[_Direction]) -> bool:
    """Answers the calls that have come; False if no more will come."""
    read = os.read(0, 1 << 16)
    for _ in range(read.count(b"\n")):
        answer = {"returned": [direction.statistics() for direction in directions]}
        sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return bool(read)


def _wait_s(directions: list[_Direction]) -> float | None:
    times = [due for direction in directions if (due := direction.next_due_s()) is not None]
    return max(0.0, min(times) - time.monotonic()) if times else None


def main() -> None:
    """Carries frames until standard input ends."""
    _stay_on_one_core()
    host_side, bridge_side = _open(sys.argv[1]), _open(sys.argv[2])
    seed, impairment = sys.argv[3], Impairment(**json.loads(sys.argv[4]))
    directions = [
        _Direction(host_side, bridge_side, Line(impairment, f"{seed} from the host")),
        _Direction(bridge_side, host_side, Line(impairment, f"{seed} to the host")),
    ]
    sources = {direction.source.fileno(): direction for direction in directions}
    while True:
        # select() waits to the microsecond, poll() only to the millisecond.
        ready, _, _ = select.select([*sources, 0], [], [], _wait_s(directions))
        for each in ready:
            if each == 0:
                if not _answer(directions):
                    return
            else:
                sources[each].carry()
        for direction in directions:
            direction.send_due()


if __name__ == "__main__":
    main()

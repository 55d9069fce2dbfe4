"""A process with an engine of the transport `dds`, told what to do by test_engine.py.

What it publishes on a stream is numbered from 1, filled with its number and of the sizes that it is told.
"""

import asyncio
import contextlib
import hashlib
import sys
import time
from collections import deque
from collections.abc import Mapping

from lunar_dds import Transport

from lunar import abc
from lunar.qos import QoS
from lunar.testing import serve

domain = int(sys.argv[2])
own_id = sys.argv[1]
settings: Mapping[str, object] = {"lease_s": float(sys.argv[3])} if len(sys.argv) > 3 else {}
engine = Transport().open(abc.Site(own_id, domain, ("127.0.0.1",), ("lo",), settings))
timer: asyncio.TimerHandle | None = None
worked = asyncio.Event()


def work() -> None:
    global timer
    if timer is not None:
        timer.cancel()
    wait_s = engine.work()
    worked.set()
    timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, work)


def content(number: int, size_bytes: int) -> bytes:
    return (b"%d," % number * (size_bytes // 2 + 1))[:size_bytes]


class Sending(abc.OutgoingHandler):
    def __init__(self) -> None:
        self.log: list[str] = []
        self.todo: deque[abc.Parcel] = deque()
        self.out: abc.Outgoing | None = None
        self.sent = self.dropped = 0
        self.lost = 0
        self.newest = 0

    def connected(self) -> None:
        self.log.append("connected")
        assert self.out is not None
        self.out.start(self.sent, self.newest)
        self.writable()

    def disconnected(self, reason: str) -> None:
        self.log.append("disconnected")

    def writable(self) -> None:
        assert self.out is not None
        while self.todo and self.out.send(self.todo[0]):
            self.sent = self.todo.popleft().sequence_number

    def losses(self, lost: int) -> None:
        self.lost = lost


class Receiving(abc.IncomingHandler):
    def __init__(self) -> None:
        self.log: list[str] = []
        self.got: list[tuple[int, int, int, str]] = []
        self.room = 1 << 60
        self.refused = False
        self.lost_count = 0
        self.bytes = 0
        self.end: abc.Incoming | None = None

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        self.log.append(f"started {last_sequence} {newest_sequence}")

    def deliver(self, parcel: abc.Parcel) -> bool:
        if self.room == 0:
            self.refused = True
            return False
        self.room -= 1
        payload = memoryview(parcel.payload)
        self.bytes += len(payload)
        right = bytes(payload) == content(parcel.sequence_number, len(payload))
        self.got.append((parcel.sequence_number, len(payload), parcel.dropped, "right" if right else "wrong"))
        return True

    def stopped(self, reason: str) -> None:
        self.log.append("stopped")

    def lost(self, count: int) -> None:
        self.lost_count += count

    def faulty(self, reason: str) -> None:
        self.log.append(f"faulty {reason}")


sending: dict[tuple[str, str], Sending] = {}
receiving: dict[tuple[str, str], Receiving] = {}


def stream_of(publisher: str, remote: str, reliable: bool) -> abc.Stream:
    qos = QoS(reliability="reliable" if reliable else "best_effort")
    return abc.Stream(publisher, "/chatter", qos, reliable, remote, {"participant": remote})


def open_outgoing(publisher: str, remote: str, reliable: bool = True) -> None:
    made = sending[publisher, remote] = Sending()
    made.out = engine.open_outgoing(stream_of(publisher, remote, reliable), made)


def open_incoming(publisher: str, remote: str, reliable: bool = True, room: int = 1 << 60) -> None:
    made = receiving[publisher, remote] = Receiving()
    made.room = room
    made.end = engine.open_incoming(stream_of(publisher, remote, reliable), made)


def send(publisher: str, remotes: list[str], first: int, sizes: list[int], dropped: int = 0) -> None:
    for number, size_bytes in enumerate(sizes, first):
        parcel = abc.Parcel(number, time.time_ns(), dropped, content(number, size_bytes))
        for remote in remotes:
            sending[publisher, remote].todo.append(parcel)
            sending[publisher, remote].writable()
    work()


async def until(check: str, publisher: str, remote: str, timeout_s: float = 20.0) -> object:
    """Waits until an expression of `s` (sending), `r` (receiving) holds, and says what there is."""
    names = {"s": sending.get((publisher, remote)), "r": receiving.get((publisher, remote))}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not eval(check, names):
                worked.clear()
                await worked.wait()
    return look(publisher, remote)


def look(publisher: str, remote: str) -> object:
    s, r = sending.get((publisher, remote)), receiving.get((publisher, remote))
    told: dict[str, object] = {}
    if s is not None and s.out is not None:
        told |= {"log": s.log, "todo": len(s.todo), "lost": s.lost, "unacknowledged": s.out.unacknowledged}
    if r is not None:
        digest = hashlib.sha256(repr([each[0] for each in r.got]).encode()).hexdigest()
        told |= {"log": r.log, "got": r.got[:300], "count": len(r.got), "lost": r.lost_count, "digest": digest}
        told |= {"wrong": sum(each[3] != "right" for each in r.got), "refused": r.refused}
        told["gaps"] = sum(after[0] != before[0] + 1 for before, after in zip(r.got, r.got[1:], strict=False))
    return told


def resume(publisher: str, remote: str, room: int) -> None:
    r = receiving[publisher, remote]
    assert r.end is not None
    r.room = room
    r.end.resume()
    work()


def close_stream(publisher: str, remote: str) -> None:
    for each in (sending.pop((publisher, remote), None), receiving.pop((publisher, remote), None)):
        end = None if each is None else each.out if isinstance(each, Sending) else each.end
        if end is not None:
            end.close()
    work()


async def main() -> None:
    asyncio.get_running_loop().add_reader(engine.fileno(), work)
    work()
    commands = {each.__name__: each for each in (open_outgoing, open_incoming, send, until, look, resume, close_stream)}
    await serve({**commands, "faulty": lambda: engine.faulty})
    asyncio.get_running_loop().remove_reader(engine.fileno())
    engine.close()


asyncio.run(main())

"""A publisher's side of the connections from all processes: all streams that go out. Pure.

A connection is known by the routing id that the socket gave it, so nobody can take over another's. It begins with an
empty message, which the subscriber's socket sends by itself; the answer is WELCOME, with a number that grows from
connection to connection. HELLO says which process it is. Of two connections of one process the later number counts.

A process is known by its participant id *and* its key: another key makes it another process, for which no stream was
opened, so nobody on the allow list can pass for someone else on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from lunar import abc
from lunar_zmq import wire
from lunar_zmq.outbox import Outbox
from lunar_zmq.sending import SendingEnd

__all__ = ["ALIVE_EVERY_S", "Publishing"]

# How long it can take until a connection that was lost while nothing was sent is noticed.
ALIVE_EVERY_S: Final = 1.0
_MAX_CONNECTIONS: Final = 4096
_MAX_PENDING: Final = 65536

_Who: TypeAlias = tuple[bytes, str]
# Makes the outbox that leads to a connection: routing id, what each frame begins with.
OutboxFor: TypeAlias = Callable[[bytes, bytes], Outbox]


class _Connection:
    __slots__ = ("epoch", "key", "number", "outbox", "over", "pending", "streams", "who")

    def __init__(self, number: int, key: str, outbox: Outbox) -> None:
        self.number = number
        self.key = key
        self.outbox = outbox
        self.who: _Who | None = None
        self.epoch = 0
        # It broke the rules, or a later one took its place: nothing that it says counts.
        self.over = False
        self.streams: dict[int, SendingEnd] = {}
        # Streams that the other side has opened before this side did.
        self.pending: dict[tuple[bytes, bool], wire.Open] = {}


class Publishing:
    """All streams from this process to others.

    Args:
        me: This process's participant id.
        epoch: Which run of its engine it is.
        outbox_for: Makes the outbox that leads to a connection.
    """

    __slots__ = (
        "_alive_due_s",
        "_connections",
        "_current",
        "_ends",
        "_last_number",
        "_lost_at_s",
        "_newly_open",
        "_outbox_for",
        "_welcome",
        "due_s",
    )

    def __init__(self, me: bytes, epoch: int, outbox_for: OutboxFor) -> None:
        self._welcome = wire.Welcome(wire.VERSION, me, epoch).pack()
        self._outbox_for = outbox_for
        self._last_number = 0
        self._connections: dict[bytes, _Connection] = {}
        self._current: dict[_Who, _Connection] = {}
        self._ends: dict[_Who, dict[bytes, SendingEnd]] = {}
        self._newly_open: list[tuple[_Who, SendingEnd]] = []
        # Of the processes that had a connection and have none.
        self._lost_at_s: dict[bytes, float] = {}
        self._alive_due_s = 0.0
        # When `tick` is to be called at the latest.
        self.due_s = 0.0

    def open(self, stream: abc.Stream, handler: abc.OutgoingHandler, key: str) -> SendingEnd:
        """Opens the sending end of a stream; whether the other side has opened it already is looked at by `tick`.

        Args:
            stream: What it is.
            handler: Told what happens.
            key: The key that the other process has announced, "" without encryption.
        """
        who = (bytes.fromhex(stream.remote_id), key)
        end = SendingEnd(stream, handler)
        ends = self._ends.setdefault(who, {})
        if (earlier := ends.get(end.publisher)) is not None:
            earlier.close()
        ends[end.publisher] = end
        self._newly_open.append((who, end))
        self.due_s = 0.0
        return end

    # What the socket says

    def arrived(self, routing_id: bytes, frame: bytes, key: str, now_s: float) -> None:
        """A frame came.

        Args:
            routing_id: The connection.
            frame: What it carries, from whoever it may be.
            key: The public key of who sent it, proven; "" without encryption.
            now_s: The time.
        """
        connection = self._connections.get(routing_id)
        if connection is None:
            connection = self._meet(routing_id, key)
            if connection is None:
                return
        if connection.over:
            return
        try:
            for record in wire.records_of_subscriber(frame):
                self._record(connection, record, now_s)
                if connection.over:
                    return
        except wire.Malformed as fault:
            self._break(connection, f"broke the rules: {fault}")

    def _meet(self, routing_id: bytes, key: str) -> _Connection | None:
        if len(self._connections) >= _MAX_CONNECTIONS:
            return None
        self._last_number += 1
        number = self._last_number
        connection = _Connection(number, key, self._outbox_for(routing_id, wire.CONNECTION.pack(number)))
        self._connections[routing_id] = connection
        connection.outbox.put(self._welcome)
        self.due_s = min(self.due_s, self._alive_due_s)
        return connection

    def _record(self, connection: _Connection, record: wire.FromSubscriber, now_s: float) -> None:
        if isinstance(record, wire.Hello):
            self._hello(connection, record, now_s)
            return
        if connection.who is None:
            return  # meant for the connection before this one
        match record:
            case wire.Grant(stream=number):
                end = connection.streams.get(number)
                if end is not None and end.number == number:
                    end.granted(record)
            case wire.Open():
                self._opened(connection, record)
            case wire.Close(number, reason):
                self._closed(connection, number, reason)
            case wire.Ready():
                self._ready(connection)

    def _hello(self, connection: _Connection, record: wire.Hello, now_s: float) -> None:
        if record.connection != connection.number:
            return  # meant for the connection before this one
        if connection.who is not None:
            raise wire.Malformed("it says who it is a second time")
        if record.version != wire.VERSION:
            raise wire.Malformed(f"it speaks version {record.version} of the protocol, this side {wire.VERSION}")
        who = (record.participant, connection.key)
        earlier = self._current.get(who)
        if earlier is not None:
            if earlier.number > connection.number:
                connection.over = True
                return
            earlier.over = True
            self._lose(earlier, now_s)
        connection.who = who
        connection.epoch = record.epoch
        self._current[who] = connection
        self._lost_at_s.pop(record.participant, None)

    def _opened(self, connection: _Connection, record: wire.Open) -> None:
        who = connection.who
        if who is None:
            return
        end = self._ends.get(who, {}).get(record.publisher)
        if end is not None and not end.closed and end.stream.reliable == record.reliable:
            self._join(connection, end, record)
            return
        if len(connection.pending) >= _MAX_PENDING:
            raise wire.Malformed("it opens too many streams")
        connection.pending[record.publisher, record.reliable] = record

    def _join(self, connection: _Connection, end: SendingEnd, record: wire.Open) -> None:
        if record.stream in connection.streams:
            raise wire.Malformed("it opens a stream twice")
        if end.number is not None:
            connection.streams.pop(end.number, None)
        connection.streams[record.stream] = end
        if not end.opened(record, connection.epoch, connection.outbox):
            connection.streams.pop(record.stream, None)

    def _closed(self, connection: _Connection, number: int, reason: str) -> None:
        for which, record in connection.pending.items():
            if record.stream == number:
                del connection.pending[which]
                return
        end = connection.streams.pop(number, None)
        if end is not None and end.number == number:
            end.other_end_closed(reason)

    def _ready(self, connection: _Connection) -> None:
        joined = set(map(id, connection.streams.values()))
        for end in list(self._ends.get(connection.who or (b"", ""), {}).values()):
            if end.number is not None and id(end) not in joined:
                end.other_end_closed("the other end closed the stream while there was no connection")

    def _break(self, connection: _Connection, reason: str) -> None:
        connection.over = True
        connection.outbox.put(wire.Refusal(reason).pack())
        self._leave(connection)
        streams, connection.streams = connection.streams, {}
        for end in streams.values():
            end.other_end_closed(f"the other end {reason}")

    def _lose(self, connection: _Connection, now_s: float) -> None:
        if connection.who is not None and self._current.get(connection.who) is connection:
            self._lost_at_s[connection.who[0]] = now_s
        self._leave(connection)
        streams, connection.streams = connection.streams, {}
        for end in streams.values():
            end.connection_lost(now_s)
        self.due_s = 0.0

    def _leave(self, connection: _Connection) -> None:
        if connection.who is not None and self._current.get(connection.who) is connection:
            del self._current[connection.who]
        connection.pending.clear()

    def connection_lost(self, routing_id: bytes, now_s: float) -> None:
        """Nothing can be sent to that connection any more."""
        connection = self._connections.pop(routing_id, None)
        if connection is not None:
            connection.over = True
            self._lose(connection, now_s)

    def lost_at_s(self, remote_id: bytes) -> float | None:
        """When the connection of a process was lost; None if it has one, or had none yet."""
        return self._lost_at_s.get(remote_id)

    def forget(self, remote_id: bytes) -> None:
        """That process is gone for good."""
        self._lost_at_s.pop(remote_id, None)
        for who in [who for who in {*self._ends, *self._current} if who[0] == remote_id]:
            for end in self._ends.pop(who, {}).values():
                end.close()
            connection = self._current.pop(who, None)
            if connection is not None:
                connection.over = True
                connection.streams.clear()

    def close(self) -> None:
        """Closes all streams."""
        for ends in self._ends.values():
            for end in ends.values():
                end.close()

    def tick(self, now_s: float) -> None:
        """Does what is due, and says in `due_s` when it is to be called next."""
        self._join_new()
        if now_s >= self._alive_due_s:
            self._alive_due_s = now_s + ALIVE_EVERY_S
            self._drop_closed()
            for connection in list(self._connections.values()):
                connection.outbox.put(wire.ALIVE)
        self.due_s = self._alive_due_s if self._connections else float("inf")
        for ends in self._ends.values():
            for end in list(ends.values()):
                due_s = end.tick(now_s)
                if due_s is not None and due_s < self.due_s:
                    self.due_s = due_s

    def _join_new(self) -> None:
        newly_open, self._newly_open = self._newly_open, []
        for who, end in newly_open:
            connection = self._current.get(who)
            if connection is None or end.closed:
                continue
            record = connection.pending.pop((end.publisher, end.stream.reliable), None)
            if record is not None:
                try:
                    self._join(connection, end, record)
                except wire.Malformed as fault:
                    self._break(connection, f"broke the rules: {fault}")

    def _drop_closed(self) -> None:
        for who, ends in list(self._ends.items()):
            for publisher, end in list(ends.items()):
                if end.closed:
                    del ends[publisher]
            if not ends:
                del self._ends[who]
        for connection in self._connections.values():
            for number, end in list(connection.streams.items()):
                if end.number != number:
                    del connection.streams[number]

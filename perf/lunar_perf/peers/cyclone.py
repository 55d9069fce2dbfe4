"""cyclonedds-python on one interface: reliable, keep-all, a WaitSet to wait and take() to read.

The payload of ``cyclonedds`` is an ``array[uint8, N]``: of a fixed size, the binding copies it as one block. That of
``cyclonedds-sequence`` is a ``sequence[uint8]``, of any size as Lunar's is: the binding serialises it one element
after the other (about 100 ms for 1 MiB). The interface is the loopback one unless told otherwise; discovery there is
unicast to this host only.
"""

from __future__ import annotations

import os
import time
from array import array
from dataclasses import make_dataclass
from threading import Event
from typing import Any

from lunar_perf.meter import Meter
from lunar_perf.payload import check_echo, pattern, stamped
from lunar_perf.sequence import END, FINISHED, STAMP, WARM_UP, Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work

# Read by the C library when the first participant is made, so it is set before anything of it is imported.
# On a link with the sizes, buffers and watermarks that Lunar uses: only what is done in Python is to differ.
os.environ["CYCLONEDDS_URI"] = (
    f"""<CycloneDDS><Domain>
<General><Interfaces><NetworkInterface name="{os.environ["LUNAR_PERF_INTERFACE"]}"/></Interfaces>
<MaxMessageSize>65500B</MaxMessageSize><FragmentSize>1344B</FragmentSize></General>
<Internal><Watermarks><WhcHigh>64MB</WhcHigh><WhcHighInit>4MB</WhcHighInit></Watermarks>
<SocketReceiveBufferSize max="4MB"/><NackDelay>10ms</NackDelay>
<BurstSize><MaxFragsRexmitSample>1000</MaxFragsRexmitSample></BurstSize>
<MaxQueuedRexmitBytes>8MB</MaxQueuedRexmitBytes><MaxQueuedRexmitMessages>8000</MaxQueuedRexmitMessages></Internal>
</Domain></CycloneDDS>"""
    if os.environ.get("LUNAR_PERF_INTERFACE")
    else """<CycloneDDS><Domain>
<General><Interfaces><NetworkInterface name="lo" multicast="false"/></Interfaces>
<AllowMulticast>false</AllowMulticast><MaxMessageSize>65500B</MaxMessageSize></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="127.0.0.1"/></Peers></Discovery>
</Domain></CycloneDDS>"""
)

from cyclonedds.core import InstanceState, Policy, Qos, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array as idl_array
from cyclonedds.idl.types import sequence as idl_sequence
from cyclonedds.idl.types import uint8
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

DOMAIN = 97
TAKE_LIMIT = 64
POLL_S = 0.005
LONG = duration(seconds=3600)


class _Endpoints:
    """A writer, a reader or both, matched, and a message type with one byte array of the right size."""

    def __init__(self, work: Work, octets: Any, out: str | None, into: str | None) -> None:
        fields = [("data", octets)]
        self.message: Any = make_dataclass("PerfMessage", fields, bases=(IdlStruct,))
        qos = Qos(Policy.Reliability.Reliable(LONG), Policy.History.KeepAll)
        self._participant = DomainParticipant(DOMAIN)
        if out is not None:
            self.writer = DataWriter(self._participant, self._topic(work, out), qos)
        if into is not None:
            self.reader = DataReader(self._participant, self._topic(work, into), qos)
            fresh = ViewState.Any | InstanceState.Alive | SampleState.NotRead
            self.condition = ReadCondition(self.reader, fresh)
            self.waitset = WaitSet(self._participant)
            self.waitset.attach(self.condition)
        if out is not None:
            while self.writer.get_publication_matched_status().current_count < work.subscribers:
                time.sleep(POLL_S)
        if into is not None:
            while self.reader.get_subscription_matched_status().current_count < 1:
                time.sleep(POLL_S)

    def _topic(self, work: Work, name: str) -> Any:
        return Topic(self._participant, f"{work.channel}_{name}", self.message)

    def take_one(self) -> Any:
        """Wait for one sample."""
        while True:
            samples = self.reader.take(1, self.condition)
            if samples:
                return samples[0]
            self.waitset.wait(LONG)


class Cyclone:
    """See :class:`lunar_perf.peer.Peer`.

    Args:
        sequences: send sequences instead of arrays.
    """

    def __init__(self, sequences: bool) -> None:
        self._sequences = sequences

    def _octets(self, work: Work) -> Any:
        return idl_sequence[uint8] if self._sequences else idl_array[uint8, work.size_bytes]

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Write, wait on the set, take."""
        ends = _Endpoints(work, self._octets(work), "ping", "pong")
        payload = pattern(work.size_bytes)
        message, write, take_one = ends.message(data=payload), ends.writer.write, ends.take_one
        round_trips = array("Q", bytes(8 * work.count))
        now = time.perf_counter_ns
        for _ in range(work.warmup):
            write(message)
            check_echo(payload, bytes(take_one().data))
        meter.start()
        for index in range(work.count):
            before = now()
            write(message)
            take_one()
            round_trips[index] = now() - before
        meter.stop()
        return round_trips

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Write back every sample taken."""
        ends = _Endpoints(work, self._octets(work), "pong", "ping")
        write, take_one = ends.writer.write, ends.take_one
        for _ in range(work.warmup):
            write(take_one())
        meter.start()
        for _ in range(work.count):
            write(take_one())
        meter.stop()
        done.wait()

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Write until the time is over; a full history blocks the writer."""
        ends = _Endpoints(work, self._octets(work), "stream", None)
        buffer = stamped(work.size_bytes)
        message, write, pack = ends.message(data=buffer), ends.writer.write, STAMP.pack_into
        step = stride(work.size_bytes)

        def burst(first: int, count: int) -> None:
            for sequence in range(first, first + count):
                pack(buffer, 0, sequence)
                write(message)

        burst(WARM_UP, work.warmup)
        meter.start()
        sent = 0
        deadline = time.perf_counter() + work.duration_s
        while time.perf_counter() < deadline:
            burst(sent, step)
            sent += step
        burst(END, 1)
        meter.stop()
        done.wait()
        return sent

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Take up to 64 samples a call, wait on the set when there are none."""
        ends = _Endpoints(work, self._octets(work), None, "stream")
        tally, expected, unpack = Tally(), WARM_UP, STAMP.unpack_from
        number_of = _first_octets if self._sequences else _as_it_is
        reader, condition, waitset = ends.reader, ends.condition, ends.waitset
        meter.start()
        while expected != FINISHED:
            samples = reader.take(TAKE_LIMIT, condition)
            if not samples:
                waitset.wait(LONG)
            for sample in samples:
                (sequence,) = unpack(number_of(sample.data))
                if sequence == expected:
                    expected += 1
                else:
                    expected = tally.resync(sequence, expected)
        meter.stop()
        return tally


def _as_it_is(data: Any) -> Any:
    return data


def _first_octets(data: Any) -> Any:
    # A sequence comes as a list.
    return bytes(data[: STAMP.size])


def open_peer(name: str) -> Cyclone:
    """``cyclonedds`` or ``cyclonedds-sequence``."""
    return Cyclone(name == "cyclonedds-sequence")

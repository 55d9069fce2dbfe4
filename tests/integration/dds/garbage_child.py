"""A plain Cyclone DDS program that writes nonsense where an engine reads: told what to do by test_hostile.py."""

import asyncio
import os
import random
import sys
import threading
from dataclasses import dataclass

os.environ["CYCLONEDDS_URI"] = (
    '<Domain><General><Interfaces><NetworkInterface address="127.0.0.1"/></Interfaces></General>'
    '<Discovery><ParticipantIndex>auto</ParticipantIndex><Peers><Peer Address="127.0.0.1"/></Peers></Discovery>'
    "</Domain>"
)

from cyclonedds.core import Listener, Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.annotations import key as annotate_key
from cyclonedds.idl.types import array, sequence, uint8
from cyclonedds.pub import DataWriter
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from lunar.testing import serve


@dataclass
@final
class Parcel(IdlStruct, typename="lunar::Parcel"):  # type: ignore[call-arg, misc]
    header: array[uint8, 56]
    audience: sequence[uint8]
    payload: sequence[uint8]


@dataclass
@final
class Note(IdlStruct, typename="lunar::Note"):  # type: ignore[call-arg, misc]
    key: array[uint8, 16]
    annotate_key("key")
    body: sequence[uint8]


matched = threading.Event()


class Matched(Listener):  # type: ignore[misc]
    def on_publication_matched(self, writer: DataWriter, status: object) -> None:
        matched.set()


participant = DomainParticipant(int(sys.argv[1]))


def write(topic: str, identity: str, headers: list[str], count: int, seed: int) -> None:
    """Writes random samples, some with the given headers, as a process with this identity."""
    chance = random.Random(seed)
    qos = Qos(
        Policy.Reliability.Reliable(duration(seconds=10)), Policy.History.KeepAll, Policy.Userdata(identity.encode())
    )
    writer = DataWriter(participant, Topic(participant, topic, Parcel), qos, Matched())
    assert matched.wait(10)
    matched.clear()
    for _ in range(count):
        header = bytearray(chance.randbytes(56))
        if headers and chance.random() < 0.8:
            header[:] = bytes.fromhex(chance.choice(headers))
            if chance.random() < 0.5:
                header[chance.randrange(56)] = chance.randrange(256)
        audience = bytes.fromhex("0b" * 16) * chance.randrange(3) + chance.randbytes(chance.choice((0, 0, 1, 16)))
        writer.write(Parcel(list(header), list(audience), list(chance.randbytes(chance.randrange(100)))))
    writer.wait_for_acks(duration(seconds=10))


def post(bodies: list[str], count: int, seed: int) -> None:
    """Writes notes: of these bodies, of random bytes and of more than a board takes, and takes some of them back."""
    chance = random.Random(seed)
    reliable = Policy.Reliability.Reliable(duration(seconds=10))
    qos = Qos(reliable, Policy.Durability.TransientLocal, Policy.Userdata(b"0d" * 16))
    writer = DataWriter(participant, Topic(participant, "lunar/graph", Note), qos, Matched())
    assert matched.wait(10)
    matched.clear()
    for _ in range(count):
        body = chance.choice([*(text.encode() for text in bodies), chance.randbytes(chance.randrange(100)), b""])
        body = bytes(2**20 + 1) if chance.random() < 0.02 else body
        note = Note(list(chance.randbytes(16)), list(body))
        writer.write(note, timestamp=chance.choice([1, 10**9, 10**18]))
        if chance.random() < 0.2:
            writer.dispose(note)
    writer.wait_for_acks(duration(seconds=10))


asyncio.run(serve({"write": write, "post": post}))

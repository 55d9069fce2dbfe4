"""The contract of a measured codec, and the list of them. Each one's library is imported when it is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from lunar_perf.codec_values import Flat, ImuValues
from lunar_perf.peer import PeerEntry

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Codec(Generic[M]):
    """How a library turns an `ImuValues` into bytes and back. Each is called once for every message measured.

    Attributes:
        make: from plain values to the library's own message object.
        encode: from the object to bytes.
        read_one: from bytes to the last component of the acceleration.
        read_all: from bytes to every value, all of them as plain Python numbers and text.
    """

    make: Callable[[ImuValues], M]
    encode: Callable[[M], bytes]
    read_one: Callable[[bytes], float]
    read_all: Callable[[bytes], Flat]


CODECS: dict[str, PeerEntry] = {
    entry.name: entry
    for entry in (
        PeerEntry(
            *("lunar", "lunar_perf.codecs.lunar_messages", ("lunar",)), "lunar.msgs.Imu; verified before it is read"
        ),
        PeerEntry(
            *("flatbuffers", "lunar_perf.codecs.flatbuffers_builder", ("flatbuffers", "numpy")),
            "the official runtime, called as flatc's generated Python calls it; the same bytes; not verified",
        ),
        PeerEntry(
            *("protobuf", "lunar_perf.codecs.protobuf_upb", ("google.protobuf",)),
            "proto3, packed repeated doubles, classes made at run time",
        ),
        PeerEntry(
            *("msgspec", "lunar_perf.codecs.msgspec_msgpack", ("msgspec",)),
            "MessagePack of array-like structs without garbage collection, typed decoder",
        ),
        PeerEntry(*("pycapnp", "lunar_perf.codecs.capnp_builder", ("capnp",)), "to_bytes and from_bytes, not packed"),
        PeerEntry(
            *("cyclonedds", "lunar_perf.codecs.cyclone_idl", ("cyclonedds",)),
            "IdlStruct.serialize, XCDR1; fixed arrays (what was pycdr2)",
        ),
    )
}


def load(name: str) -> Codec[object]:
    """The codec of that name, its library imported.

    Raises:
        KeyError: no such codec.
        ImportError: its library is not installed or does not load.
    """
    module = importlib.import_module(CODECS[name].module)
    open_codec = cast("Callable[[], Codec[object]]", module.open_codec)
    return open_codec()

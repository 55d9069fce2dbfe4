"""The statements that `lunar perf codec` times: Lunar's own for its targets, and every codec's on the same message."""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import lunar
from lunar.messages import Message, decode, encode, encode_into
from lunar.msgs import Image, Imu
from lunar_perf.codec_peer import Codec
from lunar_perf.codec_timing import Snippet
from lunar_perf.codec_values import BLOCK, FLOATS, IMU, LABEL
from lunar_perf.codecs.lunar_messages import make as make_imu
from lunar_perf.typed_messages import sample_of

OPERATIONS = {
    "encode from values": "encode(make(values))",
    "encode": "encode(message)",
    "read one": "read_one(data)",
    "read all": "read_all(data)",
}
"""What is measured of every codec, by name, and the statement."""

_TEXT_BYTES = 1 << 20
_LOAN_BYTES = 4096


@lunar.message
class Mixed(Message):
    """Ten numbers, a text and a block of bytes."""

    a: lunar.float64
    b: lunar.float64
    c: lunar.float64
    d: lunar.float64
    e: lunar.float64
    f: lunar.float64
    g: lunar.float64
    h: lunar.float64
    i: lunar.float64
    j: lunar.float64
    label: str
    block: lunar.Array[lunar.uint8]


@lunar.message
class Scalars(Message):
    """Numbers only."""

    stamp_ns: lunar.int64
    position: lunar.float64
    speed: lunar.float32
    torque: lunar.float32
    ticks: lunar.uint16
    moving: bool


@lunar.message
class Text(Message):
    """A text, of which verifying has to look at every byte."""

    text: str


def loan_like() -> mmap.mmap:
    """Memory as a loan's: mapped, aligned and there before anybody writes to it."""
    memory = mmap.mmap(-1, _LOAN_BYTES)
    memory[:] = bytes(_LOAN_BYTES)
    return memory


def encode_mixed(floats: tuple[float, ...], label: str, block: bytes, into: mmap.mmap) -> int:
    """As ``codecs.flatbuffers_builder.encode_mixed``: from the same values to the same memory."""
    a, b, c, d, e, f, g, h, i, j = floats
    return encode_into(Mixed(a=a, b=b, c=c, d=d, e=e, f=f, g=g, h=h, i=i, j=j, label=label, block=block), into)


def lend_mixed(publisher: lunar.MessagePublisher[Mixed], floats: tuple[float, ...], label: str, block: bytes) -> None:
    """As `encode_mixed`, into a loan, and published from it."""
    a, b, c, d, e, f, g, h, i, j = floats
    with publisher.loan(a=a, b=b, c=c, d=d, e=e, f=f, g=g, h=h, i=i, j=j, label=label, block=block):
        pass


def verified_sizes() -> dict[str, int]:
    """Bytes of the messages that verifying is measured with, by name."""
    return {name: len(data) for name, (_, data) in _verified().items()}


def _verified() -> dict[str, tuple[type[Message], bytes]]:
    text = "température, Ω und µm " * (_TEXT_BYTES // 25)
    return {
        "imu": (Imu, encode(make_imu(IMU))),
        "image": (Image, encode(sample_of(Image))),
        "text": (Text, encode(Text(text=text))),
    }


def target_snippets(received: Scalars, publisher: lunar.MessagePublisher[Mixed]) -> list[Snippet]:
    """What Lunar's targets need.

    Args:
        received: a message that came over the bus.
        publisher: one without subscriptions, to lend messages.
    """
    into = loan_like()
    numbers = Scalars(stamp_ns=1_763_888_400, position=0.25, speed=1.5, torque=-0.5, ticks=4096, moving=True)
    mixed = Mixed(**dict(zip("abcdefghij", FLOATS, strict=True)), label=LABEL, block=BLOCK)
    from_values = {"encode": encode_mixed, "floats": FLOATS, "label": LABEL, "block": BLOCK, "into": into}
    lent = {"lend": lend_mixed, "publisher": publisher, "floats": FLOATS, "label": LABEL, "block": BLOCK}
    make_numbers = "Scalars(stamp_ns=1763888400, position=0.25, speed=1.5, torque=-0.5, ticks=4096, moving=True)"
    own: Mapping[str, object] = {"encode_into": encode_into, "into": into}
    snippets = [
        Snippet("mixed/lunar", "encode(floats, label, block, into)", from_values),
        Snippet("mixed/loan", "lend(publisher, floats, label, block)", lent),
        Snippet("mixed/at hand", "encode_into(message, into)", {**own, "message": mixed}),
        Snippet("scalars/from values", f"encode_into({make_numbers}, into)", {**own, "Scalars": Scalars}),
        Snippet("scalars/at hand", "encode_into(message, into)", {**own, "message": numbers}),
        Snippet("read scalar", "message.speed", {"message": received}),
    ]
    for name, (cls, data) in _verified().items():
        given = {"decode": decode, "cls": cls, "data": data}
        snippets += [
            Snippet(f"decode/{name}", "decode(cls, data, verify=False)", given),
            Snippet(f"decode/{name}/verified", "decode(cls, data, verify=True)", given),
        ]
    return snippets


def official_snippet() -> Snippet:
    """The official builder's part of the first target.

    Raises:
        ImportError: it is not installed.
    """
    from lunar_perf.codecs.flatbuffers_builder import encode_mixed as encode_officially

    given = {"encode": encode_officially, "floats": FLOATS, "label": LABEL, "block": BLOCK, "into": loan_like()}
    return Snippet("mixed/flatbuffers", "encode(floats, label, block, into)", given)


def codec_snippets(name: str, codec: Codec[object]) -> list[Snippet]:
    """What is measured of every codec."""
    made = codec.make(IMU)
    given: dict[str, object] = {
        "make": codec.make,
        "encode": codec.encode,
        "read_one": codec.read_one,
        "read_all": codec.read_all,
    }
    given |= {"values": IMU, "message": made, "data": codec.encode(made)}
    return [Snippet(f"{name}/{operation}", statement, given) for operation, statement in OPERATIONS.items()]

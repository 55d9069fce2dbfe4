"""A received message is written from where it lies, yet never as it is: its bytes may be wrong, and point anywhere."""

import struct
from pathlib import Path
from typing import Any

import pytest

from lunar.errors import LunarError, VerificationError
from lunar.messages import Interfaces, Message, decode, encode, encode_into, load

pytestmark = pytest.mark.hostile

SCHEMA = """\
attribute "shape";
struct Spot { x: double; y: double; }
table Inner { name: string; numbers: [ushort]; }
table Outer {
  flag: bool;
  ratio: float = 0.5;
  count: int = null;
  spot: Spot;
  inner: Inner;
  name: string (required);
  matrix: [double] (shape: "2,2");
}
root_type Outer;
"""


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Interfaces:
    source = tmp_path_factory.mktemp("viewed") / "robot.fbs"
    source.write_text(SCHEMA)
    return load(Path(source))


@pytest.fixture
def outer(robot: Interfaces) -> Message:
    made: Message = robot.Outer(
        flag=True,
        ratio=0.25,
        count=0,
        spot=robot.Spot(x=1.5, y=-2.5),
        inner=robot.Inner(name="arm", numbers=[1, 2, 3]),
        name="wheel é",
        matrix=[1.0, 2.0, 3.0, 4.0],
    )
    return made


def test_every_kind_comes_through(robot: Interfaces, outer: Message) -> None:
    blob = encode(outer)
    received: Any = decode(robot.Outer, blob)
    assert encode(received) == blob
    assert encode(robot.Outer(name="other", inner=received.inner)) == encode(
        robot.Outer(name="other", inner=robot.Inner(name="arm", numbers=[1, 2, 3]))
    )


def test_a_large_vector_comes_through(robot: Interfaces) -> None:
    blob = encode(robot.Inner(numbers=[7] * 300_000))
    received: Any = decode(robot.Inner, blob)
    assert encode(received) == blob
    into = bytearray(len(blob))
    assert encode_into(received, into) == len(blob)
    assert bytes(into) == blob


def test_bytes_that_no_reader_would_see_are_left_behind(robot: Interfaces, outer: Message) -> None:
    blob = encode(outer)
    assert encode(decode(robot.Outer, blob + b"secret" * 100, verify=False)) == blob


def test_a_bool_of_any_bits_is_true(robot: Interfaces) -> None:
    blob = bytearray(encode(robot.Outer(flag=True, name="n")))
    (table,) = struct.unpack_from("<I", blob, 0)
    (back,) = struct.unpack_from("<i", blob, table)
    (flag,) = struct.unpack_from("<H", blob, table - back + 4)
    blob[table + flag] = 0x40
    received: Any = decode(robot.Outer, blob)
    assert received.flag is True
    assert encode(received) == encode(robot.Outer(flag=True, name="n"))


def test_what_reading_would_refuse_is_not_written(robot: Interfaces, outer: Message) -> None:
    blob = encode(outer)
    not_text: Any = decode(robot.Outer, blob.replace("é".encode(), b"\xff\xff"), verify=False)
    with pytest.raises(VerificationError, match="UTF-8"):
        encode(not_text)
    rows = struct.pack("<I4d", 4, 1, 2, 3, 4)
    other_shape: Any = decode(robot.Outer, blob.replace(rows, struct.pack("<I", 3) + rows[4:]), verify=False)
    with pytest.raises(VerificationError, match="number of elements"):
        encode(other_shape)
    nameless: Any = decode(robot.Outer, struct.pack("<IHHi", 8, 4, 4, 4), verify=False)
    with pytest.raises(VerificationError, match="name"):
        encode(nameless)


def test_no_mutation_does_more_than_raise(robot: Interfaces, outer: Message) -> None:
    blob = encode(outer)
    for at in range(len(blob)):
        for value in (0x00, 0x01, 0x7F, 0x80, 0xFF, blob[at] ^ 4):
            mutated = blob[:at] + bytes([value]) + blob[at + 1 :]
            try:
                again = encode(decode(robot.Outer, mutated, verify=False))
            except LunarError:
                continue
            assert encode(decode(robot.Outer, again)) == again


def test_no_end_does_more_than_raise(robot: Interfaces, outer: Message) -> None:
    blob = encode(outer)
    for size in range(len(blob)):
        try:
            again = encode(decode(robot.Outer, blob[:size], verify=False))
        except LunarError:
            continue
        assert encode(decode(robot.Outer, again)) == again

"""Each rule of the verifier, by a buffer that is right but for one thing; and flatc's opinion of the same."""

import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lunar._native import _codec
from lunar.errors import VerificationError
from lunar.messages import decode, encode
from lunar.messages.flatc import find_flatc
from lunar.messages.loading import Interfaces, load
from tests.unit.messages.buffers import Assembler
from tests.unit.messages.every import EVERY, every, full_message

pytestmark = pytest.mark.hostile

SCHEMA = """
namespace v;
struct P { a:byte; b:double; }
struct Q (force_align: 16) { x:float; }
table Leaf { name:string (required); size:long; }
union U { Leaf, P, Text:string }
table T {
  s:string; n:long; p:P; q:Q; b:ubyte;
  doubles:[double]; ps:[P]; qs:[Q]; names:[string];
  leaf:Leaf; leaves:[Leaf];
  u:U; us:[U];
  t:T; matrix:[int] (shape: "2,3"); rows:[int] (shape: ",3");
}
root_type T;
file_identifier "VERI";
"""
S, N, P, Q, B, DOUBLES, PS, QS, NAMES, LEAF, LEAVES, U_TYPE, U, US_TYPE, US, T, MATRIX, ROWS = range(18)


@cache
def interfaces() -> Interfaces:
    with TemporaryDirectory() as folder:
        path = Path(folder, "v.fbs")
        path.write_text('attribute "shape";\n' + SCHEMA)
        return load(path)


def check(buffer: Assembler | bytes) -> Any:
    """The verified message, all of which is looked at."""
    message: Any = decode(interfaces()["v.T"], bytes(buffer.data if isinstance(buffer, Assembler) else buffer))
    repr(message)
    return message


def refuses(buffer: Assembler | bytes, why: str) -> None:
    with pytest.raises(VerificationError, match=why):
        check(buffer)


def one_field(field: int, inline_bytes: int = 4, offset: int = 4) -> tuple[Assembler, int]:
    """A T whose only field is this one; and where it lies."""
    a = Assembler()
    table = a.root({field: offset}, bytes(offset - 4 + inline_bytes))
    return a, table + offset


# ---- the beginning --------------------------------------------------------------------------------------------------


def test_an_empty_table() -> None:
    a = Assembler()
    a.root()
    assert check(a).s is None


@pytest.mark.parametrize("size", range(8))
def test_too_short_for_its_beginning(size: int) -> None:
    a = Assembler()
    a.root()
    refuses(bytes(a.data[:size]), "too short")


def test_the_file_identifier() -> None:
    a = Assembler(b"VERJ")
    a.root()
    refuses(a, "another file identifier")


@pytest.mark.parametrize("root", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFC, 1 << 20])
def test_a_root_beyond_the_buffer(root: int) -> None:
    a = Assembler()
    a.root()
    a.word(0, root)
    refuses(a, "a table lies beyond")


def test_a_root_at_the_very_end() -> None:
    a = Assembler()
    a.root()
    for back in (1, 2, 3, 4):
        a.word(0, len(a.data) - back + 4)
        refuses(a, "a table lies beyond")


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_a_root_that_is_not_aligned(shift: int) -> None:
    a = Assembler()
    table = a.root()
    a.word(0, table + shift)
    a.raw(bytes(8))
    refuses(a, "not aligned")


# ---- vtables --------------------------------------------------------------------------------------------------------


def test_a_vtable_behind_its_table() -> None:
    a = Assembler()
    table = a.root()
    a.align(4)
    vtable = a.vtable({}, 4)
    struct.pack_into("<i", a.data, table, table - vtable)
    check(a)
    struct.pack_into("<i", a.data, table, table - vtable - 2)
    refuses(a, "a vtable lies beyond")


@pytest.mark.parametrize("back", [2**31 - 1, -(2**31), 2**20, -(2**20)])
def test_a_vtable_beyond_the_buffer(back: int) -> None:
    a = Assembler()
    struct.pack_into("<i", a.data, a.root(), back)
    refuses(a, "a vtable lies beyond")


def test_a_vtable_just_before_the_buffer() -> None:
    a = Assembler()
    table = a.root()
    struct.pack_into("<i", a.data, table, table + 2)
    refuses(a, "a vtable lies beyond")


def test_a_vtable_that_is_not_aligned() -> None:
    a = Assembler()
    a.raw(b"\0" * 3)
    vtable = len(a.data)
    a.raw(struct.pack("<HH", 4, 4))
    table = a.align(4)
    a.raw(struct.pack("<i", table - vtable))
    a.word(0, table)
    refuses(a, "not aligned")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 7, 0xFFFE, 0xFFFF])
def test_the_length_of_a_vtable(size: int) -> None:
    a = Assembler()
    vtable = len(a.data)
    a.root()
    a.half(vtable, size)
    refuses(a, "no possible length")


@pytest.mark.parametrize("size", [0, 1, 3, 5, 6, 0xFFFF])
def test_the_length_of_a_table(size: int) -> None:
    a = Assembler()
    vtable = len(a.data)
    a.root()
    a.half(vtable + 2, size)
    refuses(a, "a table reaches beyond")


def test_a_vtable_may_know_of_more_or_fewer_fields() -> None:
    a = Assembler()
    a.root({30: 4}, bytes(4))
    assert check(a).s is None


# ---- fields in line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "size", "offset"), [(N, 8, 8), (B, 1, 4), (P, 16, 8), (Q, 16, 16)])
def test_a_field_lies_within_its_table(field: int, size: int, offset: int) -> None:
    # Its table begins at a multiple of 16, its vtable behind the identifier.
    a, _ = one_field(field, size, offset)
    check(a)
    vtable_size, table_size = struct.unpack_from("<HH", a.data, 8)
    assert vtable_size == 6 + 2 * field
    a.half(10, table_size - 1)
    refuses(a, "lies outside its table")
    a.half(10, table_size)
    for outside in (1, 2, 3, table_size, 0xFFFF):
        a.half(8 + 4 + 2 * field, outside)
        refuses(a, "lies outside its table")


@pytest.mark.parametrize(("field", "size", "alignment"), [(N, 8, 8), (P, 16, 8), (Q, 16, 16), (S, 4, 4)])
def test_a_field_is_aligned(field: int, size: int, alignment: int) -> None:
    a, at = one_field(field, size + 32, 16)
    if field == S:
        a.point(at, a.string(b"x"))
    check(a)
    for shift in range(1, alignment):
        a.half(8 + 4 + 2 * field, 16 + shift)
        refuses(a, "not aligned")


# ---- strings and vectors --------------------------------------------------------------------------------------------


def test_an_offset_of_zero() -> None:
    a, _ = one_field(S)
    refuses(a, "points beyond the buffer")


@pytest.mark.parametrize("offset", [1 << 16, 0x7FFFFFFC, 0x80000000, 0xFFFFFFFC])
@pytest.mark.parametrize("field", [S, DOUBLES, PS, NAMES, LEAF, LEAVES, T])
def test_an_offset_beyond_the_buffer(field: int, offset: int) -> None:
    a, at = one_field(field)
    a.word(at, offset)
    refuses(a, "points beyond the buffer")


@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("field", [S, DOUBLES, NAMES, LEAF])
def test_an_offset_to_what_is_not_aligned(field: int, shift: int) -> None:
    a, at = one_field(field)
    a.point(at, a.align(4) + shift)
    a.raw(bytes(32))
    refuses(a, "not aligned")


def test_a_string() -> None:
    a, at = one_field(S)
    string = a.string(b"text")
    a.point(at, string)
    assert check(a).s == "text"
    without_zero = bytearray(a.data)
    without_zero[-1] = 1
    refuses(bytes(without_zero), "no zero behind its text")
    refuses(bytes(a.data[:-1]), "no zero behind its text")
    for length in (6, 100, 0x7FFFFFFF, 0xFFFFFFFF):
        a.word(string, length)
        refuses(a, "reaches beyond|no zero")


@pytest.mark.parametrize(("field", "size"), [(DOUBLES, 8), (PS, 16), (QS, 16), (NAMES, 4), (LEAVES, 4)])
def test_a_vector_reaches_to_the_end_at_most(field: int, size: int) -> None:
    a, at = one_field(field)
    vector = a.vector(2, bytes(2 * size), 16)
    a.point(at, vector)
    if size >= 8:
        check(a)
    for count in (3, 1 << 28, 1 << 29, 0x40000001, 0xFFFFFFFF):
        a.word(vector, count)
        refuses(a, "reaches beyond the buffer")


@pytest.mark.parametrize(("field", "size", "alignment"), [(DOUBLES, 8, 8), (PS, 16, 8), (QS, 16, 16)])
def test_the_elements_of_a_vector_are_aligned(field: int, size: int, alignment: int) -> None:
    for shift in range(0, 16, 4):
        a, at = one_field(field)
        a.align(16, skip=4)
        a.raw(bytes(shift))
        vector = len(a.data)
        a.raw(struct.pack("<I", 1) + bytes(size))
        a.point(at, vector)
        if shift % alignment:
            refuses(a, "not aligned")
            a.word(vector, 0)  # nothing is in it: nothing can be in the wrong place
        check(a)


@pytest.mark.parametrize(("field", "right"), [(MATRIX, {6}), (ROWS, {0, 3, 6, 9})])
def test_the_number_of_elements_of_a_shape(field: int, right: set[int]) -> None:
    for count in range(11):
        a, at = one_field(field)
        a.point(at, a.vector(count, bytes(4 * count)))
        if count in right:
            check(a)
        else:
            refuses(a, "another number of elements")


# ---- UTF-8 ----------------------------------------------------------------------------------------------------------


class Text:
    """A buffer with one string, whose bytes are changed in place; verified natively, a million times a second."""

    def __init__(self, length: int) -> None:
        a, at = one_field(S)
        a.point(at, a.string(bytes(length)))
        self.buffer = a.data
        self.begin = len(a.data) - 1 - length
        self.plan = interfaces()["v.T"].__lunar_plan__  # type: ignore[attr-defined]

    def check(self, text: bytes) -> None:
        self.buffer[self.begin : self.begin + len(text)] = text
        try:
            expected: str | None = text.decode()
        except UnicodeDecodeError:
            expected = None
        try:
            message: Any = _codec.view(self.plan, self.buffer, True)
        except VerificationError as error:
            refused = str(error)
            assert expected is None, text
            assert refused.endswith("field s is not UTF-8")
        else:
            assert message.s == expected, text


EDGES = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]


def _sequences(length: int) -> Iterator[bytes]:
    if length <= 2:
        yield from (value.to_bytes(length, "big") for value in range(256**length))
        return
    for lead in [0x41, 0xC3, *range(0xE0 if length == 3 else 0xEF, 0x100)]:
        for second in range(256):
            for rest in EDGES if length == 3 else [third << 8 | fourth for third in EDGES for fourth in EDGES[::2]]:
                yield bytes([lead, second]) + rest.to_bytes(length - 2, "big")


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_utf8_is_what_python_says(length: int) -> None:
    text = Text(length)
    for sequence in _sequences(length):
        text.check(sequence)


def test_utf8_wherever_it_lies_among_ascii() -> None:
    characters = [b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80"]
    for before in range(18):
        for after in range(18):
            for character in characters:
                whole = b"a" * before + character + b"b" * after
                Text(len(whole)).check(whole)


# ---- required fields, unions ----------------------------------------------------------------------------------------


def test_a_required_field() -> None:
    a, at = one_field(LEAF)
    leaf = a.table({0: 4}, bytes(4))
    a.point(at, leaf)
    a.point(leaf + 4, a.string(b"n"))
    assert check(a).leaf.name == "n"
    a, at = one_field(LEAF)
    a.point(at, a.table({1: 12}, bytes(16)))
    refuses(a, "v.Leaf: field name is required and absent")


def union(tag: int | None, value: Callable[[Assembler], int] | None) -> Assembler:
    a = Assembler()
    fields = ({} if tag is None else {U_TYPE: 8}) | ({} if value is None else {U: 4})
    table = a.root(fields, bytes(4) + bytes([tag or 0, 0, 0, 0]))
    if value is not None:
        a.point(table + 4, value(a))
    return a


def leaf(a: Assembler) -> int:
    at = a.table({0: 4}, bytes(4))
    a.point(at + 4, a.string(b"n"))
    return at


def text(a: Assembler) -> int:
    return a.string(b"text")


def test_a_union() -> None:
    assert check(union(1, leaf)).u.name == "n"
    assert check(union(2, lambda a: a.raw(struct.pack("<qd", 7, 0.5), 16))).u.b == 0.5
    assert check(union(3, text)).u == "text"
    assert check(union(None, None)).u is None
    assert check(union(0, None)).u is None


def test_a_union_with_a_tag_and_no_value_or_the_reverse() -> None:
    refuses(union(1, None), "field u has a tag and no value")
    refuses(union(0, leaf), "field u has a value and no tag")
    refuses(union(None, leaf), "field u has a value and no tag")


def test_a_union_of_a_newer_schema() -> None:
    assert check(union(200, leaf)).u is None
    assert check(union(200, lambda a: len(a.data) + 100_000)).u is None  # nobody follows it
    refuses(union(200, None), "has a tag and no value")


def test_the_alternative_that_a_union_holds_is_verified() -> None:
    refuses(union(1, lambda a: a.table()), "v.Leaf: field name is required")
    refuses(union(2, lambda a: a.raw(bytes(8), 8)), "points to no struct")
    refuses(union(2, lambda a: a.raw(bytes(20), 8) + 4), "points to no struct")
    refuses(union(3, lambda a: a.vector(2, b"ab")), "no zero behind its text")


def unions(tags: bytes | None, count: int) -> tuple[Assembler, int]:
    a = Assembler()
    table = a.root({US: 4} | ({} if tags is None else {US_TYPE: 8}), bytes(8))
    if tags is not None:
        a.point(table + 8, a.vector(len(tags), tags))
    values = a.offsets(count)
    a.point(table + 4, values)
    return a, values + 4


def test_a_vector_of_unions() -> None:
    a, values = unions(b"\1\3\0\xc8", 4)
    a.point(values, leaf(a))
    a.point(values + 4, text(a))
    assert [str(each) for each in check(a).us] == ["Leaf(name='n', size=0)", "text", "None", "None"]
    a.point(values, text(a))
    refuses(a, "v.Leaf: ")


def test_a_vector_of_unions_has_as_many_tags() -> None:
    check(unions(b"", 0)[0])
    check(unions(b"\0\0", 2)[0])
    for tags, count in ((b"\0", 2), (b"\0\0\0", 2), (b"", 1), (None, 0), (None, 1)):
        refuses(unions(tags, count)[0], "another number of tags")


def test_tags_of_no_unions_are_looked_at() -> None:
    for tags, fault in ((b"", None), (b"\1", "another number of tags")):
        a = Assembler()
        table = a.root({US_TYPE: 4}, bytes(4))
        a.point(table + 4, a.vector(len(tags), tags))
        if fault is None:
            assert len(check(a).us) == 0
        else:
            refuses(a, fault)
    a = Assembler()
    table = a.root({US_TYPE: 4}, bytes(4))
    a.point(table + 4, len(a.data) + 1000)
    refuses(a, "beyond")


# ---- depth and sharing ----------------------------------------------------------------------------------------------


def chain(depth: int) -> Assembler:
    a = Assembler()
    table = a.root({T: 4} if depth > 1 else {}, bytes(4))
    for level in range(2, depth + 1):
        inner = a.table({T: 4} if level < depth else {}, bytes(4), 4)
        a.point(table + 4, inner)
        table = inner
    return a


def test_messages_nest_64_deep() -> None:
    message: Any = check(chain(64))
    for _ in range(63):
        message = message.t
    assert message.t is None
    refuses(chain(65), "nested too deeply")
    refuses(chain(10_000), "nested too deeply")


def test_depth_is_given_back() -> None:
    a, at = one_field(LEAVES)
    values = a.offsets(1000)
    a.point(at, values)
    for i in range(1000):
        a.point(values + 4 + 4 * i, leaf(a))
    assert len(check(a).leaves) == 1000


def shared(count: int, length: int) -> Assembler:
    """Names that are all one string."""
    a, at = one_field(NAMES)
    values = a.offsets(count)
    a.point(at, values)
    string = a.string(b"x" * length)
    for i in range(count):
        a.point(values + 4 + 4 * i, string)
    return a


def test_the_budget_grows_with_the_buffer() -> None:
    length = 4096
    # The root, the vector of offsets, and each string as often as it is mentioned.
    counts = range(1, 200)
    fits = [count for count in counts if 8 + 4 + 4 + 4 * count + count * (4 + length) <= _budget(shared(count, length))]
    most = fits[-1]
    assert fits == [*range(1, most + 1)]
    assert 15 < most < 40
    check(shared(most, length))
    refuses(shared(most + 1, length), "larger than its bytes can justify")


def _budget(a: Assembler) -> int:
    return 4 * len(a.data) + 65536


def test_a_small_message_may_share() -> None:
    assert list(check(shared(1000, 5)).names) == ["xxxxx"] * 1000


# ---- structs as roots -----------------------------------------------------------------------------------------------


def test_a_struct_that_travels_alone() -> None:
    cls: Any = interfaces()["v.Q"]
    blob = encode(cls(x=1.5))
    assert decode(cls, blob) == cls(x=1.5)
    for size in range(len(blob)):
        with pytest.raises(VerificationError):
            decode(cls, blob[:size])
    absent = Assembler(b"")
    absent.root()
    with pytest.raises(VerificationError, match="the struct is absent"):
        decode(cls, bytes(absent.data))
    with pytest.raises(VerificationError, match="the struct is absent"):
        decode(cls, bytes(absent.data), verify=False)


# ---- flatc ----------------------------------------------------------------------------------------------------------


def _flatc_errors(folder: Path, blob: bytes) -> list[str] | None:
    """What flatc's annotation of a buffer calls an error; None if flatc does not survive it."""
    (folder / "blob.bin").write_bytes(blob)
    (folder / "blob.afb").unlink(missing_ok=True)
    command = [str(find_flatc()), "--annotate", "every.fbs", "--", "blob.bin"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=30, check=False)
    found = folder / "blob.afb"
    if done.returncode or not found.exists():
        return None
    errors = [line for line in found.read_text(errors="replace").splitlines() if "ERROR:" in line]
    # Of a newer schema, for all that a reader can know.
    return [line for line in errors if "Invalid union type value" not in line]


def test_what_flatc_calls_an_error_is_refused(tmp_path: Path, rounds: Callable[[int, int], int]) -> None:
    (tmp_path / "every.fbs").write_text(EVERY)
    cls: Any = every()["every.Every"]
    good = encode(full_message())
    assert _flatc_errors(tmp_path, good) == []
    chance, seen = random.Random(1), 0
    for _ in range(rounds(60, 2000)):
        blob = bytearray(good)
        at = chance.randrange(len(blob) // 4) * 4
        blob[at : at + 4] = chance.choice([struct.pack("<I", 4 * chance.randrange(64)), chance.randbytes(4)])
        errors = _flatc_errors(tmp_path, bytes(blob))
        if errors:
            seen += 1
            with pytest.raises(VerificationError):
                decode(cls, bytes(blob))
    assert seen > 10

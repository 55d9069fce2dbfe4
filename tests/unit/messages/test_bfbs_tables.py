import struct

import pytest

from lunar.errors import SchemaError
from lunar.messages.bfbs_tables import Table, root_table


def overlapping(count: int, text: bytes) -> bytes:
    """A table with a vector of `count` tables that are one, with a vector of `count` texts that are one."""
    inner = 28 + 4 * count
    words = inner + 12 + 4 * count
    outer = struct.pack("<I4sHHHHiII", 16, b"TEST", 6, 8, 4, 0, 8, 4, count)
    tables = b"".join(struct.pack("<I", inner - at) for at in range(28, inner, 4))
    table = struct.pack("<iII", inner - 8, 4, count)
    texts = b"".join(struct.pack("<I", words - at) for at in range(inner + 12, words, 4))
    return outer + tables + table + texts + struct.pack("<I", len(text)) + text


def test_it_reads_what_is_there() -> None:
    table = root_table(overlapping(2, b"abc"), b"TEST").tables(0)[0]
    assert table.texts(0) == ["abc", "abc"]


def test_what_is_absent_has_a_default() -> None:
    table = root_table(overlapping(1, b"abc"), b"TEST")
    assert (table.flag(9), table.uint8(9), table.uint16(9), table.int32(9, -1), table.int64(9)) == (False, 0, 0, -1, 0)
    assert (table.float64(9), table.text(9), table.texts(9), table.table(9), table.tables(9)) == (0.0, "", [], None, [])


def test_parts_that_overlap_cost_no_more_than_the_bytes_weigh() -> None:
    # Read as it says, it would be 25 million times a megabyte.
    data = overlapping(5000, b"x" * 1_000_000)
    read_bytes = 0

    def read_all(table: Table) -> None:
        nonlocal read_bytes
        for inner in table.tables(0):
            for text in inner.texts(0):
                read_bytes += len(text)

    with pytest.raises(SchemaError, match="overlap"):
        read_all(root_table(data, b"TEST"))
    assert read_bytes <= 4 * len(data)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, 0xFFFFFFFF), (8, 0xFFFF), (10, 0xFFFF), (12, 0xFFFF), (16, 0x7FFFFFFF), (16, 0x80000000), (20, 0x7FFFFFFF)],
    ids=["root", "vtable size", "table size", "field", "vtable before", "vtable after", "vector"],
)
def test_an_offset_out_of_the_buffer_is_refused(at: int, value: int) -> None:
    data = bytearray(overlapping(2, b"abc"))
    struct.pack_into("<H" if at in (8, 10, 12) else "<I", data, at, value)
    with pytest.raises(SchemaError, match="corrupt"):
        root_table(bytes(data), b"TEST").tables(0)


def test_a_count_beyond_the_buffer_is_refused_before_anything_is_made_of_it() -> None:
    data = bytearray(overlapping(2, b"abc"))
    struct.pack_into("<I", data, 24, 0xFFFFFFFF)
    with pytest.raises(SchemaError, match="corrupt"):
        root_table(bytes(data), b"TEST").tables(0)


def test_text_is_utf8() -> None:
    with pytest.raises(SchemaError, match="UTF-8"):
        root_table(overlapping(1, b"\xff"), b"TEST").tables(0)[0].texts(0)


def test_another_identifier_is_refused() -> None:
    with pytest.raises(SchemaError, match="TEST"):
        root_table(overlapping(1, b"a"), b"BFBS")

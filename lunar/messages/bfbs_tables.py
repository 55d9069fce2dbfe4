"""A reader of FlatBuffers' tables that trusts nothing: each offset is checked before it is followed.

Compiled schemas (.bfbs) are read with it; for messages there is the C core. What is wrong with the bytes is one
`SchemaError`. Tables may share their parts, so a small buffer could describe a huge schema: what is read is charged
against a budget. Source: flatbuffers.dev, "Internals".
"""

from __future__ import annotations

import struct
from typing import Final

from lunar.errors import SchemaError

__all__ = ["Table", "root_table"]

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_U8: Final = struct.Struct("<B")
_I64: Final = struct.Struct("<q")
_F64: Final = struct.Struct("<d")

# An honest compiled schema is read at most twice (its root table is also one of its objects).
_READ_AT_MOST_TIMES: Final = 4


class _Buffer:
    """The bytes, and how many of them may still be read."""

    __slots__ = ("_budget_bytes", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._budget_bytes = _READ_AT_MOST_TIMES * len(data)

    def number(self, layout: struct.Struct, offset: int) -> int | float:
        self.check(offset, layout.size)
        number: int | float = layout.unpack_from(self.data, offset)[0]
        return number

    def integer(self, layout: struct.Struct, offset: int) -> int:
        return int(self.number(layout, offset))

    def follow(self, offset: int) -> int:
        distance = self.integer(_U32, offset)
        self.check(offset + distance, 4)
        return offset + distance

    def check(self, offset: int, size_bytes: int) -> None:
        if offset < 0 or offset + size_bytes > len(self.data):
            raise SchemaError(f"corrupt compiled schema: bytes {offset} to {offset + size_bytes} of {len(self.data)}")

    def charge(self, offset: int, size_bytes: int) -> None:
        self.check(offset, size_bytes)
        self._budget_bytes -= size_bytes
        if self._budget_bytes < 0:
            raise SchemaError("corrupt compiled schema: its parts overlap")


class Table:
    """A table of a compiled schema; fields are asked for by their ids."""

    __slots__ = ("_buffer", "_offset", "_size_bytes", "_vtable", "_vtable_bytes")

    def __init__(self, buffer: _Buffer, offset: int) -> None:
        vtable = offset - buffer.integer(_I32, offset)
        self._vtable_bytes = buffer.integer(_U16, vtable)
        self._size_bytes = buffer.integer(_U16, vtable + 2)
        if self._vtable_bytes < 4 or self._size_bytes < 4:
            raise SchemaError(f"corrupt compiled schema: the table at {offset} is too small to be one")
        buffer.check(vtable, self._vtable_bytes)
        buffer.charge(offset, self._size_bytes)
        self._buffer = buffer
        self._offset = offset
        self._vtable = vtable

    def _find(self, field_id: int, size_bytes: int) -> int | None:
        entry = 4 + 2 * field_id
        if entry + 2 > self._vtable_bytes:
            return None
        distance = self._buffer.integer(_U16, self._vtable + entry)
        if distance == 0:
            return None
        if distance + size_bytes > self._size_bytes:
            raise SchemaError(
                f"corrupt compiled schema: field {field_id} of the table at {self._offset} lies outside it"
            )
        return self._offset + distance

    def _integer(self, layout: struct.Struct, field_id: int, default: int) -> int:
        found = self._find(field_id, layout.size)
        return default if found is None else self._buffer.integer(layout, found)

    def flag(self, field_id: int) -> bool:
        """A bool, false where it is absent."""
        return self._integer(_U8, field_id, 0) != 0

    def uint8(self, field_id: int) -> int:
        """A uint8, 0 where it is absent."""
        return self._integer(_U8, field_id, 0)

    def uint16(self, field_id: int) -> int:
        """A uint16, 0 where it is absent."""
        return self._integer(_U16, field_id, 0)

    def int32(self, field_id: int, default: int = 0) -> int:
        """An int32."""
        return self._integer(_I32, field_id, default)

    def int64(self, field_id: int) -> int:
        """An int64, 0 where it is absent."""
        return self._integer(_I64, field_id, 0)

    def float64(self, field_id: int) -> float:
        """A float64, 0 where it is absent."""
        found = self._find(field_id, 8)
        return 0.0 if found is None else float(self._buffer.number(_F64, found))

    def text(self, field_id: int) -> str:
        """A string, "" where it is absent."""
        found = self._find(field_id, 4)
        return "" if found is None else self._text_at(self._buffer.follow(found))

    def texts(self, field_id: int) -> list[str]:
        """A vector of strings, empty where it is absent."""
        return [self._text_at(offset) for offset in self._offsets(field_id)]

    def table(self, field_id: int) -> Table | None:
        """A table, None where it is absent."""
        found = self._find(field_id, 4)
        return None if found is None else Table(self._buffer, self._buffer.follow(found))

    def tables(self, field_id: int) -> list[Table]:
        """A vector of tables, empty where it is absent."""
        return [Table(self._buffer, offset) for offset in self._offsets(field_id)]

    def _offsets(self, field_id: int) -> list[int]:
        found = self._find(field_id, 4)
        if found is None:
            return []
        start = self._buffer.follow(found)
        count = self._buffer.integer(_U32, start)
        self._buffer.charge(start, 4 + 4 * count)
        return [self._buffer.follow(start + 4 + 4 * index) for index in range(count)]

    def _text_at(self, offset: int) -> str:
        size_bytes = self._buffer.integer(_U32, offset)
        self._buffer.charge(offset, 4 + size_bytes)
        try:
            return self._buffer.data[offset + 4 : offset + 4 + size_bytes].decode()
        except UnicodeDecodeError as error:
            raise SchemaError(f"corrupt compiled schema: the text at {offset} is not UTF-8") from error


def root_table(data: bytes, identifier: bytes) -> Table:
    """The table that a FlatBuffer is about.

    Args:
        data: The whole buffer.
        identifier: The four bytes that must stand at byte 4.

    Raises:
        SchemaError: The buffer has another identifier, or its first offset leads out of it. So do the methods of the
            table where the bytes that they read make no sense.
    """
    if data[4:8] != identifier:
        raise SchemaError(f"not a compiled schema: bytes 4 to 8 are {data[4:8]!r}, not {identifier!r}")
    buffer = _Buffer(data)
    return Table(buffer, buffer.follow(0))

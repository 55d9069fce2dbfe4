"""FlatBuffers by hand: each part lies where a test says, right or wrong."""

import struct
from collections.abc import Mapping


class Assembler:
    """A buffer that grows from low addresses to high, beginning with the place of the root and the identifier."""

    def __init__(self, identifier: bytes = b"VERI") -> None:
        self.data = bytearray(4) + identifier

    def align(self, alignment: int, skip: int = 0) -> int:
        """Adds zeros until what begins `skip` bytes on is aligned; where that is, without the bytes skipped."""
        self.data += bytes(-(len(self.data) + skip) % alignment)
        return len(self.data)

    def word(self, at: int, value: int) -> None:
        struct.pack_into("<I", self.data, at, value)

    def half(self, at: int, value: int) -> None:
        struct.pack_into("<H", self.data, at, value)

    def point(self, slot: int, target: int) -> None:
        """Writes an offset at `slot` that points to `target`."""
        self.word(slot, target - slot)

    def vtable(self, offsets: Mapping[int, int], table_size: int) -> int:
        at = self.align(2)
        slots = max(offsets, default=-1) + 1
        self.data += struct.pack("<HH", 4 + 2 * slots, table_size)
        self.data += b"".join(struct.pack("<H", offsets.get(i, 0)) for i in range(slots))
        return at

    def table(self, offsets: Mapping[int, int] = {}, inline: bytes = b"", alignment: int = 16) -> int:
        """A vtable and its table, whose inline bytes follow the offset to the vtable."""
        vtable = self.vtable(offsets, 4 + len(inline))
        at = self.align(alignment)
        self.data += struct.pack("<i", at - vtable) + inline
        return at

    def root(self, offsets: Mapping[int, int] = {}, inline: bytes = b"") -> int:
        at = self.table(offsets, inline)
        self.word(0, at)
        return at

    def vector(self, count: int, elements: bytes = b"", alignment: int = 4) -> int:
        at = self.align(max(4, alignment), skip=4)
        self.data += struct.pack("<I", count) + elements
        return at

    def string(self, text: bytes) -> int:
        at = self.vector(len(text), text)
        self.data += b"\0"
        return at

    def offsets(self, count: int) -> int:
        """A vector whose elements are still to be pointed somewhere."""
        return self.vector(count, bytes(4 * count))

    def raw(self, data: bytes, alignment: int = 1) -> int:
        at = self.align(alignment)
        self.data += data
        return at

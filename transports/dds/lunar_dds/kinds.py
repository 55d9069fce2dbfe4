"""The types of our topics, as the C library wants them described, and how their samples are laid out.

Both are final structs of octets and integers, so XCDR1 and XCDR2 have the same bytes: fields in order, integers
aligned to four bytes here (DDS-XTypes 1.3, clause 7.4.3). In IDL:

    module lunar {
      @final struct Note   { @key octet key[16]; sequence<octet> body; };
      @final struct Parcel { octet header[56]; sequence<octet> audience; sequence<octet> payload; };
    };
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from lunar_dds.cyclone import CData, ffi

__all__ = ["NOTE", "PARCEL", "PARCEL_HEADER_BYTES", "Kind", "descriptor"]

PARCEL_HEADER_BYTES: Final = 56

# dds_opcodes.h: what a marshalling program is made of.
_RETURN: Final = 0
_FIELD: Final = 0x01 << 24
_KEY_AT: Final = 0x07 << 24
_SEQUENCE_OF_OCTETS: Final = _FIELD | 0x07 << 16 | 0x01 << 8
_ARRAY_OF_OCTETS: Final = _FIELD | 0x08 << 16 | 0x01 << 8
_IS_KEY: Final = 1 << 0 | 1 << 3  # a key, and so "must be understood"

_FIXED_KEY: Final = 1 << 1 | 1 << 5 | 1 << 10
_SEQUENCE_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Kind:
    """A type.

    Attributes:
        name: Its name in DDS.
        size_bytes: Of the C struct that it would be; none is ever made.
        program: How to marshal it.
        instructions: How many that are.
        key_at: Index of the instruction for its key; None if it has none.
    """

    name: str
    size_bytes: int
    program: tuple[int, ...]
    instructions: int
    key_at: int | None = None


NOTE: Final = Kind(
    "lunar::Note",
    16 + _SEQUENCE_BYTES,
    (_ARRAY_OF_OCTETS | _IS_KEY, 0, 16, _SEQUENCE_OF_OCTETS, 16, _RETURN, _KEY_AT | 1, 0),
    4,
    6,
)
PARCEL: Final = Kind(
    "lunar::Parcel",
    PARCEL_HEADER_BYTES + 2 * _SEQUENCE_BYTES,
    (
        *(_ARRAY_OF_OCTETS, 0, PARCEL_HEADER_BYTES),
        *(_SEQUENCE_OF_OCTETS, PARCEL_HEADER_BYTES),
        *(_SEQUENCE_OF_OCTETS, PARCEL_HEADER_BYTES + _SEQUENCE_BYTES),
        _RETURN,
    ),
    4,
)

# What a descriptor points to has to live as long as it.
_held: list[CData] = []


@cache
def descriptor(kind: Kind) -> CData:
    """The C library's description of a type; lives as long as the process."""
    name, program = ffi.new("char[]", kind.name.encode()), ffi.new("uint32_t[]", kind.program)
    meta, key_name = ffi.new("char[]", b""), ffi.new("char[]", b"key")
    keys = ffi.NULL
    if kind.key_at is not None:
        keys = ffi.new("dds_key_descriptor_t[1]", [{"m_name": key_name, "m_offset": kind.key_at, "m_idx": 0}])
    made = ffi.new(
        "dds_topic_descriptor_t *",
        {
            "m_size": kind.size_bytes,
            "m_align": 8,
            "m_flagset": 0 if kind.key_at is None else _FIXED_KEY,
            "m_nkeys": 0 if kind.key_at is None else 1,
            "m_typename": name,
            "m_keys": keys,
            "m_nops": kind.instructions,
            "m_ops": program,
            "m_meta": meta,
        },
    )
    _held.extend((name, program, meta, key_name, keys))
    return made

"""What a document from anywhere holds, one value at a time.

Each function takes a value that `json.loads` returned and where it stood, in words, and returns it if it is what it
should be. Otherwise it raises a `VerificationError`, whose text shows a few characters of what came at most.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection
from typing import Final, TypeAlias

from lunar.errors import VerificationError
from lunar.messages.schema import Scalar

__all__ = [
    "FULL_NAME",
    "IDENTIFIER",
    "MAX_NAME_LENGTH",
    "Record",
    "any_record_in",
    "flag_in",
    "list_in",
    "name_in",
    "real_in",
    "record_in",
    "text_in",
    "whole_in",
    "wrong",
]

MAX_NAME_LENGTH: Final = 255
IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FULL_NAME: Final = re.compile(rf"{IDENTIFIER.pattern}(\.{IDENTIFIER.pattern})*")

Record: TypeAlias = dict[str, object]

_SPECIAL_FLOATS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_MAX_FLOAT32: Final = (2 - 2**-23) * 2.0**127


def wrong(where: str, what: str) -> VerificationError:
    """The exception to raise: `where` in the document something is wrong, and what."""
    return VerificationError(f"a schema's {where} {what}")


def any_record_in(value: object, where: str, limit: int) -> Record:
    """An object with at most `limit` keys, whatever they are."""
    if not isinstance(value, dict):
        raise wrong(where, "is no object")
    if len(value) > limit:
        raise wrong(where, f"has {len(value)} keys; at most {limit} are allowed")
    if not all(isinstance(key, str) for key in value):
        raise wrong(where, "has a key that is no string")
    return value


def record_in(value: object, where: str, needed: Collection[str], allowed: Collection[str]) -> Record:
    """An object that has all keys of `needed`, any of `allowed`, and no others."""
    record = any_record_in(value, where, len(needed) + len(allowed))
    for key in needed:
        if key not in record:
            raise wrong(where, f"has no {key!r}")
    for key in record:
        if key not in needed and key not in allowed:
            raise wrong(where, f"has an unknown key {key[:40]!r}")
    return record


def list_in(value: object, where: str, limit: int) -> list[object]:
    """An array of at most `limit` elements."""
    if not isinstance(value, list):
        raise wrong(where, "is no array")
    if len(value) > limit:
        raise wrong(where, f"has {len(value)} elements; at most {limit} are allowed")
    return value


def text_in(value: object, where: str, limit: int = MAX_NAME_LENGTH) -> str:
    """A string of at most `limit` characters."""
    if not isinstance(value, str):
        raise wrong(where, "is no string")
    if len(value) > limit:
        raise wrong(where, f"has {len(value)} characters; at most {limit} are allowed")
    return value


def name_in(value: object, where: str, pattern: re.Pattern[str] = IDENTIFIER) -> str:
    """A name of at most `MAX_NAME_LENGTH` characters that is made as `pattern` says."""
    name = text_in(value, where)
    if not pattern.fullmatch(name):
        raise wrong(where, f"has a malformed name {name[:40]!r}")
    return name


def whole_in(value: object, where: str, least: int, greatest: int) -> int:
    """A whole number from `least` to `greatest`, both included."""
    # To Python a bool is a number; to JSON it is not. A number out of range may be too long to be shown.
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(where, "is no whole number")
    if not least <= value <= greatest:
        raise wrong(where, f"is not a number from {least} to {greatest}")
    return value


def flag_in(record: Record, key: str, where: str) -> bool:
    """Whether the record says `true` for a key, which is left out for false."""
    if key in record and record[key] is not True:
        raise wrong(f"{where}: {key}", "is neither true nor left out")
    return key in record


def real_in(value: object, where: str, scalar: Scalar) -> float:
    """A number of a float type; the strings "nan", "inf" and "-inf" stand for those."""
    if isinstance(value, str) and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(where, "is no number")
    # Compared before it is converted, since a long int does not fit a float; a NaN compares false.
    greatest = _MAX_FLOAT32 if scalar is Scalar.FLOAT32 else sys.float_info.max
    if not -greatest <= value <= greatest:
        raise wrong(where, f"is not a finite {scalar.fbs_name}")
    return float(value)

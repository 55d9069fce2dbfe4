"""What each setting may be, wherever it is said: in the environment, in a file or as an argument. Pure.

Each function takes a value as it was given, text or TOML's types, and returns it as it is used. It raises ValueError
with what is allowed as its text; the caller knows where the value stood.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

__all__ = [
    "DEFAULT_POOL_BYTES",
    "MAX_DOMAIN",
    "Range",
    "domain",
    "interfaces",
    "peers",
    "pool_bytes",
    "range_",
    "split",
    "transport",
]

Range: TypeAlias = Literal["host", "network"]

MAX_DOMAIN: Final = 232
"""The highest domain whose DDS discovery port, 7400 + 250 * domain, fits into 16 bits."""

DEFAULT_POOL_BYTES: Final = 2**30
"""The limit of a publisher's pool, in bytes, where nothing else is said."""

_MIN_POOL_BYTES: Final = 2**16
_MAX_POOL_BYTES: Final = 2**44
_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGT]?)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LABEL: Final = "[A-Za-z0-9][A-Za-z0-9-]{0,62}"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def domain(value: object) -> int:
    """Text of up to three digits, or a number, from 0 to `MAX_DOMAIN`."""
    # int() alone would also take "+1", " 1", "1_0" and digits of other scripts.
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}", value, re.ASCII):
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_DOMAIN:  # a bool is an int as well
        raise ValueError(f"a whole number from 0 to {MAX_DOMAIN}")
    return value


def range_(value: object) -> Range:
    """How far a node is seen."""
    if value == "host":
        return "host"
    if value == "network":
        return "network"
    raise ValueError("host or network")


def pool_bytes(value: object) -> int:
    """Bytes: a number, or text with a unit."""
    parts = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size_bytes = int(parts[1]) * _UNITS[parts[2].upper()] if parts else value
    if type(size_bytes) is not int or not _MIN_POOL_BYTES <= size_bytes <= _MAX_POOL_BYTES:
        raise ValueError("bytes from 64K to 16T; K, M, G and T stand for powers of 1024")
    return size_bytes


def interfaces(value: object) -> tuple[str, ...]:
    """Names or addresses of interfaces; whether there are such is asked when the network is used."""
    return _several(value, _is_interface, "names or addresses of interfaces")


def peers(value: object) -> tuple[str, ...]:
    """Addresses or host names of other hosts."""
    return _several(value, _is_peer, "IP addresses or names of hosts")


def transport(value: object) -> Mapping[str, Mapping[str, object]]:
    """A table for each transport; what is in it, the transport checks."""
    if not isinstance(value, dict) or not all(isinstance(settings, dict) for settings in value.values()):
        raise ValueError("a table for each transport, such as [transport.zmq]")
    return value


def split(text: str) -> list[str]:
    """Takes a list apart as it stands in an environment variable, by commas; blanks around them do not count."""
    return [part.strip() for part in text.split(",")]


def _several(value: object, is_one: Callable[[str], bool], what: str) -> tuple[str, ...]:
    parts = split(value) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and is_one(part) for part in parts):
        raise ValueError(what)
    return tuple(dict.fromkeys(parts))


def _is_interface(text: str) -> bool:
    # The kernel's rule for names (dev_valid_name), which has room for addresses with a scope as well.
    return 0 < len(text) < 64 and not any(letter.isspace() or letter == "/" for letter in text)


def _is_peer(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # Else a mistyped address would be a name that nobody has.
        return _HOST_NAME.fullmatch(text) is not None and not re.fullmatch(r"[0-9.]+", text)
    return True

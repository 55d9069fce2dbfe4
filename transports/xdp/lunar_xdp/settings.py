"""What the configuration may say for this transport, and what other processes announce. Pure.

Both come from outside and are checked here, once. The settings stand in `lunar.toml` under `[transport.xdp]`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from lunar.errors import ConfigError, PeerFault

__all__ = [
    "KEY_BYTES",
    "LARGEST_MESSAGE_BYTES",
    "MAX_ENDPOINTS",
    "VERSION",
    "Address",
    "Backend",
    "Endpoint",
    "Settings",
    "announce",
    "read_address",
    "read_settings",
]

Backend: TypeAlias = Literal["af_xdp", "udp"]

VERSION: Final = 1
"""The version of the protocol that this side speaks."""

KEY_BYTES: Final = 16
"""Length of the key from which the tokens of an engine's streams are made."""

LARGEST_MESSAGE_BYTES: Final = 64 << 20
"""The largest message that the protocol puts together."""

MAX_ENDPOINTS: Final = 16
"""So many fit into 4 KiB of JSON in any case."""

_MAX_QUEUES: Final = 64
_SIZE: Final = re.compile(r"([0-9]{1,20})([KMG]?)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# IPv4's smallest (RFC 791) and IPv6's (RFC 8200).
_SMALLEST_MTU: Final = {4: 68, 6: 1280}
_MAC: Final = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)

# ---- settings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says.

    Attributes:
        port: The UDP port to receive at, 0 for any.
        backend: "af_xdp" or "udp", "auto" for the former where it can be, else the latter.
        mode: How the XDP program is attached: "native" (in the driver), "generic", or "auto" for the better one.
        queues: The receive queues to serve; None stands for every one.
        window: Parts of a reliable stream that may be on their way; a power of two.
        largest_message_bytes: Larger messages are neither sent nor taken.
    """

    port: int = 0
    backend: Literal["auto", "af_xdp", "udp"] = "auto"
    mode: Literal["auto", "native", "generic"] = "auto"
    queues: tuple[int, ...] | None = None
    window: int = 4096
    largest_message_bytes: int = LARGEST_MESSAGE_BYTES


def read_settings(settings: Mapping[str, object]) -> Settings:
    """Checks what the configuration says.

    Raises:
        ConfigError: A setting is unknown or has a value that cannot be used.
    """
    known = Settings.__slots__
    for name in settings:
        if name not in known:
            raise ConfigError(f"xdp.{name}", settings[name], f"no such setting; there are {', '.join(sorted(known))}")
    return Settings(
        _whole_number(settings, "port", 0, 0, 65535),
        _backend(settings.get("backend", "auto")),
        _mode(settings.get("mode", "auto")),
        _queues(settings.get("queues", "auto")),
        _window(settings.get("window", 4096)),
        _largest_message(settings.get("largest_message_bytes", LARGEST_MESSAGE_BYTES)),
    )


def _whole_number(settings: Mapping[str, object], name: str, default: int, least: int, most: int) -> int:
    value = settings.get(name, default)
    if type(value) is not int or not least <= value <= most:  # a bool is an int as well
        raise ConfigError(f"xdp.{name}", value, f"a whole number from {least} to {most}")
    return value


def _window(value: object) -> int:
    if type(value) is not int or not 64 <= value <= 32768 or value & (value - 1):
        raise ConfigError("xdp.window", value, "a power of two from 64 to 32768")
    return value


def _backend(value: object) -> Literal["auto", "af_xdp", "udp"]:
    match value:
        case "auto":
            return "auto"
        case "af_xdp":
            return "af_xdp"
        case "udp":
            return "udp"
    raise ConfigError("xdp.backend", value, "'auto', 'af_xdp' or 'udp'")


def _mode(value: object) -> Literal["auto", "native", "generic"]:
    match value:
        case "auto":
            return "auto"
        case "native":
            return "native"
        case "generic":
            return "generic"
    raise ConfigError("xdp.mode", value, "'auto', 'native' or 'generic'")


def _queues(value: object) -> tuple[int, ...] | None:
    if value == "auto":
        return None
    allowed = f"'auto', or a list of 1 to {_MAX_QUEUES} different numbers of queues, from 0"
    if not isinstance(value, list | tuple) or not 0 < len(value) <= _MAX_QUEUES:
        raise ConfigError("xdp.queues", value, allowed)
    queues = tuple(each for each in value if type(each) is int and 0 <= each < 65536)
    if len(queues) != len(value) or len(set(queues)) != len(queues):
        raise ConfigError("xdp.queues", value, allowed)
    return queues


def _largest_message(value: object) -> int:
    parts = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size_bytes = int(parts[1]) * _UNITS[parts[2].upper()] if parts else value
    if type(size_bytes) is not int or not 1024 <= size_bytes <= LARGEST_MESSAGE_BYTES:
        raise ConfigError("xdp.largest_message_bytes", value, "bytes from 1K to 64M; K and M stand for powers of 1024")
    return size_bytes


# ---- addresses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine receives datagrams.

    Attributes:
        address: IPv4 or IPv6, in its shortest form, without a scope: that counts on the announcing host only.
        port: UDP.
        mtu: The longest IP packet that its interface takes.
        backend: What receives there.
        mac: The interface's MAC address as text, or "" if it has none. For people to read: where to send frames to is
            for the kernel to say.
    """

    address: str
    port: int
    mtu: int
    backend: Backend
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """What an engine announces.

    Attributes:
        epoch: Which run of the engine it is, 64 bits.
        key: From which the tokens of its streams are made, 16 bytes.
        endpoints: Where it receives, the preferred first; 1 to 16.
    """

    epoch: int
    key: bytes
    endpoints: tuple[Endpoint, ...]


def announce(address: Address) -> dict[str, object]:
    """Returns an address as it is announced: JSON-ready, less than 4 KiB. `read_address` reads it."""
    return {
        "version": VERSION,
        "epoch": f"{address.epoch:016x}",
        "key": address.key.hex(),
        "endpoints": [_announced(endpoint) for endpoint in address.endpoints[:MAX_ENDPOINTS]],
    }


def _announced(endpoint: Endpoint) -> dict[str, object]:
    text: dict[str, object] = {
        "address": str(ipaddress.ip_address(endpoint.address.partition("%")[0])),
        "port": endpoint.port,
        "mtu": endpoint.mtu,
        "backend": endpoint.backend,
    }
    return {**text, "mac": endpoint.mac} if endpoint.mac else text


def read_address(address: Mapping[str, object]) -> Address:
    """Checks what another process has announced. Entries that this version does not know are left alone.

    Raises:
        PeerFault: It cannot be understood.
    """
    version = address.get("version")
    if type(version) is not int or version != VERSION:
        raise PeerFault(f"it speaks version {version!r:.20} of the protocol, this side version {VERSION}")
    endpoints = address.get("endpoints")
    if not isinstance(endpoints, list | tuple) or not 0 < len(endpoints) <= MAX_ENDPOINTS:
        raise PeerFault(f"it announces no list of 1 to {MAX_ENDPOINTS} endpoints")
    return Address(
        int.from_bytes(_hex(address, "epoch", 8)),
        _hex(address, "key", KEY_BYTES),
        tuple(_endpoint(each) for each in endpoints),
    )


def _hex(address: Mapping[str, object], name: str, length: int) -> bytes:
    text = address.get(name)
    if not isinstance(text, str) or re.fullmatch(rf"[0-9a-f]{{{2 * length}}}", text, re.ASCII) is None:
        raise PeerFault(f"it announces no {name} of {2 * length} lower-case hex digits")
    return bytes.fromhex(text)


def _endpoint(entry: object) -> Endpoint:
    if not isinstance(entry, Mapping):
        raise PeerFault("it announces an endpoint that is none")
    ip = _ip_address(entry.get("address"))
    port, mtu, backend = entry.get("port"), entry.get("mtu"), entry.get("backend")
    if type(port) is not int or not 0 < port < 65536:
        raise PeerFault(f"it announces an endpoint with port {port!r:.20}")
    if type(mtu) is not int or not _SMALLEST_MTU[ip.version] <= mtu < 65536:
        raise PeerFault(f"it announces an endpoint with an MTU of {mtu!r:.20}")
    if backend not in ("af_xdp", "udp"):
        raise PeerFault(f"it announces an endpoint with backend {backend!r:.20}")
    mac = entry.get("mac", "")
    if not isinstance(mac, str) or (mac and not _is_mac_of_one(mac)):
        raise PeerFault(f"it announces an endpoint with MAC address {mac!r:.20}")
    return Endpoint(str(ip), port, mtu, "af_xdp" if backend == "af_xdp" else "udp", mac)


def _ip_address(text: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Reads the address of one host: what is sent to it must not reach many, nor this host by another name."""
    try:
        # `ip_address` also takes numbers; and a scope, which is a name of somebody else's interface.
        if not isinstance(text, str) or len(text) > 45 or "%" in text:
            raise ValueError("no address")
        ip = ipaddress.ip_address(text)
    except ValueError:
        raise PeerFault(f"it announces an endpoint with IP address {text!r:.60}") from None
    mapped = isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None
    if ip.is_unspecified or ip.is_multicast or mapped or ip == ipaddress.IPv4Address(0xFFFFFFFF):
        raise PeerFault(f"it announces an endpoint with IP address {ip}, which is not one host's")
    return ip


def _is_mac_of_one(text: str) -> bool:
    """Says whether it can be one interface's: neither a group's (the lowest bit of the first byte) nor all zeros."""
    return _MAC.fullmatch(text) is not None and not int(text[:2], 16) & 1 and text != "00:00:00:00:00:00"

"""What the configuration may say for this transport, and what other processes announce. Pure but for the environment.

Both come from outside and are checked here, once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from lunar.errors import ConfigError, PeerFault

__all__ = ["Address", "Settings", "default_key_directory", "places_of", "read_address", "read_settings", "seen_from"]

Carrier: TypeAlias = Literal["tcp", "ipc"]

_MAX_ENDPOINTS: Final = 16
_MAX_ENDPOINT_LENGTH: Final = 200
_KEY: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_ENDPOINT: Final = {"tcp": re.compile(r"tcp://[0-9a-zA-Z.:%\[\]_-]+:[0-9]{1,5}"), "ipc": re.compile(r"ipc:///[^\0]+")}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says.

    Attributes:
        carrier: "tcp", or "ipc": Unix sockets in a directory.
        directory: Where those are; "" for tcp.
        curve: Whether everything is encrypted and only listed keys are let in.
        keys: The directory of the keys.
        allowed: Public keys that are let in beside those listed there.
        heartbeat_s: How long a connection may say nothing until it counts as lost.
    """

    carrier: Carrier = "tcp"
    directory: str = ""
    curve: bool = True
    keys: Path = Path()
    allowed: tuple[str, ...] = ()
    heartbeat_s: float = 1.5


@dataclass(frozen=True, slots=True)
class Address:
    """What another process has announced.

    Attributes:
        endpoints: Where its socket listens, the preferred first.
        key: Its public key, "" without encryption.
        epoch: Which run of its engine it is.
    """

    endpoints: tuple[str, ...]
    key: str
    epoch: int


def default_key_directory() -> Path:
    """Returns where the keys are if the configuration does not say: `$XDG_CONFIG_HOME/lunar/keys`."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.config")) / "lunar" / "keys"


def read_settings(settings: Mapping[str, object]) -> Settings:
    """Checks what the configuration says.

    Raises:
        ConfigError: A setting is unknown or has a value that cannot be used.
    """
    known = {"transport", "directory", "curve", "keys", "allowed", "heartbeat_s"}
    for name in settings:
        if name not in known:
            raise ConfigError(f"zmq.{name}", settings[name], f"no such setting; there are {', '.join(sorted(known))}")
    carrier = _carrier(settings.get("transport", "tcp"))
    directory = settings.get("directory", "")
    if not isinstance(directory, str) or (carrier == "ipc") != os.path.isabs(directory):
        raise ConfigError("zmq.directory", directory, "an absolute path with transport 'ipc', else nothing")
    curve = settings.get("curve", carrier == "tcp")
    if not isinstance(curve, bool):
        raise ConfigError("zmq.curve", curve, "true or false")
    keys = settings.get("keys", "")
    if not isinstance(keys, str):
        raise ConfigError("zmq.keys", keys, "the path of a directory")
    return Settings(
        carrier,
        directory,
        curve,
        Path(keys).expanduser() if keys else default_key_directory(),
        _allowed(settings.get("allowed", ())),
        _heartbeat(settings.get("heartbeat_s", 1.5)),
    )


def _carrier(value: object) -> Carrier:
    match value:
        case "tcp":
            return "tcp"
        case "ipc":
            return "ipc"
    raise ConfigError("zmq.transport", value, "'tcp' or 'ipc'")


def _allowed(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError("zmq.allowed", value, "a list of public keys")
    for key in value:
        if not is_key(key):
            raise ConfigError("zmq.allowed", key, "public keys, 40 characters of Z85 each")
    return tuple(value)


def _heartbeat(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 60:
        raise ConfigError("zmq.heartbeat_s", value, "seconds from 0.1 to 60")
    return float(value)


def is_key(value: object) -> bool:
    """Says whether it can be a CURVE key in Z85 (ZeroMQ RFC 32)."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def read_address(address: Mapping[str, object], settings: Settings) -> Address:
    """Checks what another process has announced.

    Raises:
        PeerFault: It cannot be understood, or does not go together with this side's settings.
    """
    if address.get("version") != 1:
        raise PeerFault(f"it speaks version {address.get('version')!r:.20} of the protocol, this side version 1")
    endpoints = address.get("endpoints")
    if not isinstance(endpoints, list | tuple) or not 0 < len(endpoints) <= _MAX_ENDPOINTS:
        raise PeerFault(f"it announces no list of 1 to {_MAX_ENDPOINTS} endpoints")
    for endpoint in endpoints:
        if not isinstance(endpoint, str) or len(endpoint) > _MAX_ENDPOINT_LENGTH:
            raise PeerFault("it announces an endpoint that is none")
        if _ENDPOINT[settings.carrier].fullmatch(endpoint) is None:
            raise PeerFault(f"it announces an endpoint that is not of {settings.carrier}")
    key = address.get("key", "")
    if not isinstance(key, str) or (key and not is_key(key)):
        raise PeerFault("it announces a key that is none")
    if settings.curve != bool(key):
        one, other = ("encrypts", "does not") if key else ("does not encrypt", "does")
        raise PeerFault(f"it {one}, this side {other}: set `curve` alike on both")
    epoch = address.get("epoch")
    if not isinstance(epoch, str) or re.fullmatch(r"[0-9a-f]{16}", epoch) is None:
        raise PeerFault("it announces no epoch")
    return Address(tuple(endpoints), key, int(epoch, 16))


def seen_from(address: Address, interfaces: Iterable[str]) -> Address:
    """Returns an address as this host has to write it.

    A link-local address counts on one link only, which each host calls by the name of its own interface.

    Args:
        address: As the other process announced it.
        interfaces: The names of this host's interfaces.
    """
    endpoints: list[str] = []
    for endpoint in address.endpoints:
        if "%" in endpoint:
            before, _, after = endpoint.partition("%")
            endpoints += [f"{before}%{name}]{after.partition(']')[2]}" for name in interfaces]
        else:
            endpoints.append(endpoint)
    return replace(address, endpoints=tuple(endpoints[:_MAX_ENDPOINTS]) or address.endpoints)


def places_of(address: Address) -> list[tuple[str, int]]:
    """Returns the IP addresses and ports of a process's TCP endpoints."""
    found = []
    for endpoint in address.endpoints:
        if endpoint.startswith("tcp://"):
            host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
            found.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return found

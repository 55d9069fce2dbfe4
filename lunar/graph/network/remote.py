"""RemoteProcess: a process on another host, as it has told of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from lunar._version import __version__
from lunar.errors import PeerFault
from lunar.graph.descriptions import MAX_HOST_NAME, EndpointInfo, Fields, NodeInfo
from lunar.graph.schemas import SchemaTexts
from lunar.graph.transports import MAX_TRANSPORTS

if TYPE_CHECKING:
    from lunar import abc

__all__ = ["FORMAT", "MAX_BODY_BYTES", "RemoteProcess"]

MAX_BODY_BYTES: Final = 1 << 20
FORMAT: Final = 1
"""Of the records on the board. Another one is another language: fields that are only added do not need a new one."""

_MAX_VERSION: Final = 50
_MAX_PID: Final = 2**31 - 1
_MAX_UID: Final = 2**32 - 1


class RemoteProcess:
    """What a link is to a process of this host, to the matchmaker.

    Args:
        record: What it posted of itself, unchecked.

    Attributes:
        version: Of Lunar, for people.
        id: Its participant id.
        host: Name of its host, for people.
        host_key: Identity of its host and runtime directory: processes with the same one meet without a network.
        pid: Its process id, by its own word.
        uid: Its user id, likewise.
        transports: What it can carry samples with, and why not with others.
        addresses: By transport, what its engines must be told to reach it; unchecked, but there for each it can use.
        nodes: Its nodes by full name.
        endpoints: Its endpoints by id.
        schemas: What it has told of message types.
        receivers: None: it shares no memory with us.
        unreachable: By transport, why it says that this process cannot be reached from there.
        out_since_s: Since when not, by what it said, monotonic.
        renewed: Transports whose engine there was opened anew; whoever takes that into account empties it.
        wants: How many schemas it asks for at present, whomever.
        said_bye: It has taken everything back before it went.
        closed: It is gone.
        lost: It is, without having said so: maybe only the network is.

    Raises:
        PeerFault: The record is not one.
    """

    def __init__(self, record: Mapping[str, object]) -> None:
        fields = Fields(record, "process")
        self.version = fields.text("version", _MAX_VERSION) if "version" in record else "of an unknown version"
        _check_format(record, self.version)
        self.id = fields.hex_id("id")
        self.host = fields.text("host", MAX_HOST_NAME)
        self.host_key = fields.hex_id("host_key")
        self.pid = fields.integer("pid", 0, _MAX_PID)
        self.uid = fields.integer("uid", 0, _MAX_UID)
        self.transports = fields.transports("transports")
        self.addresses = _addresses(record.get("addresses"), fields)
        for each in self.transports:
            if each.beyond_host and each.name not in self.addresses:
                raise fields.fault("addresses", f"there is none of {each.name}, which it says that it can use")
        self.nodes: dict[str, NodeInfo] = {}
        self.endpoints: dict[str, EndpointInfo] = {}
        self.schemas = SchemaTexts()
        self.receivers: dict[str, abc.ReceiverEnd] = {}
        self.unreachable: dict[str, str] = {}
        self.out_since_s: dict[str, float] = {}
        self.renewed: set[str] = set()
        self.wants = 0
        self.said_bye = self.closed = self.lost = False

    def __str__(self) -> str:
        return f"the process with pid {self.pid} on {self.host}"


def _check_format(record: Mapping[str, object], version: str) -> None:
    number, host = record.get("format", 1), record.get("host")
    if number != FORMAT or isinstance(number, bool):
        said = number if isinstance(number, int) and abs(number) < 1_000_000 else "of no known kind"
        where = f" on {host}" if isinstance(host, str) and host.isprintable() and len(host) <= MAX_HOST_NAME else ""
        raise PeerFault(
            f"it runs Lunar {version}{where}, whose records have format {said}, and this process Lunar {__version__}, "
            f"which reads format {FORMAT} only: install versions that agree"
        )


def _addresses(value: object, fields: Fields) -> dict[str, Mapping[str, object]]:
    if not isinstance(value, dict) or len(value) > MAX_TRANSPORTS:
        raise fields.fault("addresses", "a mapping from names to addresses is needed")
    found: dict[str, Mapping[str, object]] = {}
    for name, address in value.items():
        if not isinstance(name, str) or not isinstance(address, dict):
            raise PeerFault("one of its transports has no address")
        found[name] = address
    return found

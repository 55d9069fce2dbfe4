"""What peers tell each other about themselves: nodes, endpoints, and the graph they add up to.

The same shapes serve the wire, `lunar.graph_snapshot()` and the command line's `--json`. Whatever
`from_dict` reads may come from a hostile peer: each value is checked and bounded, unknown keys are
ignored (a newer version may send more), and the first thing that is wrong raises `PeerFault`.
Process and user ids are the kernel's where it states them, never the peer's own word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

from lunar.errors import InvalidName, PeerFault, QoSError
from lunar.graph.routes import Route, read_routes
from lunar.graph.transports import HOST_ONLY, TransportInfo, read_transports
from lunar.names import full_node_name, split_full_node_name, validate_namespace, validate_node_name, validate_topic
from lunar.qos import QoS

__all__ = ["EndpointInfo", "EndpointKind", "Fields", "GraphSnapshot", "MAX_HOST_NAME", "NodeInfo", "PeerInfo"]

EndpointKind = Literal["publisher", "subscription"]

_KINDS: Final[tuple[EndpointKind, ...]] = get_args(EndpointKind)
_HEX_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
# A type's name is printed on terminals, so nothing that could be an escape sequence may pass.
_TYPE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./:]*", re.ASCII)
_MAX_TYPE_NAME: Final = 255
_MAX_REASON: Final = 1000
_MAX_ENDPOINTS_PER_NODE: Final = 10_000
_MAX_NODES_PER_PEER: Final = 10_000
_MAX_REASONS: Final = 100_000
_MAX_PID: Final = 2**31 - 1
_MAX_UID: Final = 2**32 - 1
_MAX_DOMAIN: Final = 232
MAX_HOST_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """A publisher or a subscription, as others see it.

    Attributes:
        id: 32 lower-case hex digits, unique for ever.
        kind: "publisher" or "subscription".
        topic: Absolute topic name.
        type_name: Name of the message type, for people.
        type_hash: Identity of the message type, 32 lower-case hex digits; this is what has to agree.
        qos: What it offers (publisher) or requests (subscription).
        node_name: Full name of its node, with the namespace.
        pid: Process id as seen from here; 0 if the process is outside of this pid namespace.
        host: Name of its host if that is another one, else "".
    """

    id: str
    kind: EndpointKind
    topic: str
    type_name: str
    type_hash: str
    qos: QoS
    node_name: str
    pid: int
    host: str = ""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        return f"{self.kind} of {self.topic} in node {self.node_name} (pid {self.pid}{where})"

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `from_dict` reads back."""
        return {
            "id": self.id,
            "kind": self.kind,
            "topic": self.topic,
            "type_name": self.type_name,
            "type_hash": self.type_hash,
            "qos": self.qos.to_dict(),
            "node_name": self.node_name,
            "pid": self.pid,
            "host": self.host,
        }

    @classmethod
    def from_dict(cls, data: object, *, pid: int | None = None, host: str | None = "") -> EndpointInfo:
        """Reads an endpoint that a peer described.

        Args:
            data: What `to_dict` returned, or anything at all.
            pid: The peer's process id as the kernel states it; replaces what the peer says.
            host: Where it is, as its process says; "" on this host, None to take what `data` says.

        Raises:
            PeerFault: Something is missing or not valid.
        """
        fields = Fields(data, "endpoint", pid)
        return cls(
            id=fields.hex_id("id"),
            kind=fields.kind("kind"),
            topic=fields.topic("topic"),
            type_name=fields.type_name("type_name"),
            type_hash=fields.hex_id("type_hash"),
            qos=fields.qos("qos"),
            node_name=fields.full_node_name("node_name"),
            pid=fields.integer("pid", 0, _MAX_PID) if pid is None else pid,
            host=fields.host("host") if host is None else host,
        )


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node and its endpoints, as others see them.

    Attributes:
        name: The node's own name.
        namespace: Its absolute namespace; "/" is the root.
        pid: Process id as seen from here; 0 if the process is outside of this pid namespace.
        uid: The user that the process runs as.
        endpoints: Its publishers and subscriptions, in the order of their creation.
        host: Name of its host if that is another one, else "".
        host_key: Identity of that host, since two may have one name; "" on this host.
        transports: What its process can carry samples with, and why not with others.
        routes: Of its matches with other hosts, those whose transport has changed or does not reach the other end.
    """

    name: str
    namespace: str
    pid: int
    uid: int
    endpoints: tuple[EndpointInfo, ...] = ()
    host: str = ""
    host_key: str = ""
    transports: tuple[TransportInfo, ...] = HOST_ONLY
    routes: tuple[Route, ...] = ()

    @property
    def full_name(self) -> str:
        """Namespace and name: "/robot/talker"."""
        return full_node_name(self.name, self.namespace)

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `from_dict` reads back."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "full_name": self.full_name,
            "pid": self.pid,
            "uid": self.uid,
            "host": self.host,
            "host_key": self.host_key,
            "transports": [transport.to_dict() for transport in self.transports],
            "routes": [route.to_dict() for route in self.routes],
            "endpoints": [endpoint.to_dict() for endpoint in self.endpoints],
        }

    @classmethod
    def from_dict(
        cls, data: object, *, pid: int | None = None, uid: int | None = None, host: str | None = ""
    ) -> NodeInfo:
        """Reads a node that a peer described.

        Args:
            data: What `to_dict` returned, or anything at all.
            pid: The peer's process id as the kernel states it; replaces what the peer says.
            uid: The peer's user id as the kernel states it; replaces what the peer says.
            host: Where it is, as its process says; "" on this host, None to take what `data` says.

        Raises:
            PeerFault: Something is missing or not valid, or an endpoint says it is another node's.
        """
        fields = Fields(data, "node", pid)
        node = cls(
            name=fields.node_name("name"),
            namespace=fields.namespace("namespace"),
            pid=fields.integer("pid", 0, _MAX_PID) if pid is None else pid,
            uid=fields.integer("uid", 0, _MAX_UID) if uid is None else uid,
            host=fields.host("host") if host is None else host,
            host_key=fields.host_key("host_key") if host is None else "",
            transports=fields.transports("transports"),
            routes=read_routes(fields, "routes") if isinstance(data, Mapping) and "routes" in data else (),
        )
        described = fields.items("endpoints", _MAX_ENDPOINTS_PER_NODE)
        endpoints = tuple(EndpointInfo.from_dict(item, pid=node.pid, host=node.host) for item in described)
        for endpoint in endpoints:
            if endpoint.node_name != node.full_name:
                raise fields.fault("endpoints", f"one belongs to {endpoint.node_name}, not to {node.full_name}")
        if len({endpoint.id for endpoint in endpoints}) != len(endpoints):
            raise fields.fault("endpoints", "two have the same id")
        return replace(node, endpoints=endpoints)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A process that takes part: what it says of itself when it connects.

    Attributes:
        id: 32 lower-case hex digits, new each time the process joins.
        domain: The domain that it belongs to, 0 to 232.
        pid: Process id as seen from here; 0 if the process is outside of this pid namespace.
        uid: The user that the process runs as.
        nodes: Its nodes.
    """

    id: str
    domain: int
    pid: int
    uid: int
    nodes: tuple[NodeInfo, ...] = ()

    @property
    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """The endpoints of all its nodes."""
        return tuple(endpoint for node in self.nodes for endpoint in node.endpoints)

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `from_dict` reads back."""
        return {
            "id": self.id,
            "domain": self.domain,
            "pid": self.pid,
            "uid": self.uid,
            "nodes": [node.to_dict() for node in self.nodes],
        }

    @classmethod
    def from_dict(cls, data: object, *, pid: int | None = None, uid: int | None = None) -> PeerInfo:
        """Reads what a peer says of itself.

        Args:
            data: What `to_dict` returned, or anything at all.
            pid: The peer's process id as the kernel states it; replaces what the peer says.
            uid: The peer's user id as the kernel states it; replaces what the peer says.

        Raises:
            PeerFault: Something is missing or not valid, or an endpoint's id stands twice.
        """
        fields = Fields(data, "peer", pid)
        peer = cls(
            id=fields.hex_id("id"),
            domain=fields.integer("domain", 0, _MAX_DOMAIN),
            pid=fields.integer("pid", 0, _MAX_PID) if pid is None else pid,
            uid=fields.integer("uid", 0, _MAX_UID) if uid is None else uid,
        )
        described = fields.items("nodes", _MAX_NODES_PER_PEER)
        peer = replace(peer, nodes=tuple(NodeInfo.from_dict(item, pid=peer.pid, uid=peer.uid) for item in described))
        if len({endpoint.id for endpoint in peer.endpoints}) != len(peer.endpoints):
            raise fields.fault("nodes", "two endpoints have the same id")
        return peer


@dataclass(frozen=True, slots=True)
class GraphSnapshot:
    """Who is there: the nodes on this host and in this domain at one moment.

    Attributes:
        nodes: All nodes that answered, ordered by full name and process id.
        unreachable: One reason for each process that is there but did not answer properly.
        schemas: The schemas of the endpoints' message types as JSON text, by type hash; see
            `lunar.messages.schema_json`. As the peers have told them: not checked, and no part of `to_dict`. Of types
            on other hosts there are those that were asked for, by anybody.
        transports: What the process that looked can use itself; no part of `to_dict`.
        awaited: Hashes of types whose schemas were asked for and had not come; no part of `to_dict`.
    """

    nodes: tuple[NodeInfo, ...] = ()
    unreachable: tuple[str, ...] = ()
    schemas: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    transports: tuple[TransportInfo, ...] = field(default=(), compare=False, repr=False)
    awaited: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """The endpoints of all nodes."""
        return tuple(endpoint for node in self.nodes for endpoint in node.endpoints)

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values that `from_dict` reads back."""
        return {"nodes": [node.to_dict() for node in self.nodes], "unreachable": list(self.unreachable)}

    @classmethod
    def from_dict(cls, data: object) -> GraphSnapshot:
        """Reads a snapshot that was written with `to_dict`.

        Raises:
            PeerFault: Something is missing or not valid.
        """
        fields = Fields(data, "snapshot")
        return cls(
            nodes=tuple(NodeInfo.from_dict(item, host=None) for item in fields.items("nodes", _MAX_NODES_PER_PEER)),
            unreachable=tuple(
                fields.checked_text("unreachable", item, _MAX_REASON)
                for item in fields.items("unreachable", _MAX_REASONS)
            ),
        )


class Fields:
    """Checked access to the fields of an object that a peer sent.

    Args:
        data: What was decoded, of whatever type.
        what: What it should describe ("endpoint"), for the text of the fault.
        pid: The peer's process id, for the fault.

    Raises:
        PeerFault: `data` is not a mapping. Each method raises it too, if its field is missing or
            not what the method's name says.
    """

    def __init__(self, data: object, what: str, pid: int | None = None) -> None:
        self._what = what
        self._pid = pid
        if not isinstance(data, Mapping):
            raise PeerFault(f"its {what} is of type {type(data).__name__}; it must be a mapping", pid)
        self._data: Mapping[object, object] = data

    def fault(self, key: str, problem: str) -> PeerFault:
        """Returns the fault for a field, to be raised by the caller."""
        return PeerFault(f"its {self._what} has a bad {key!r}: {problem}", self._pid)

    def text(self, key: str, limit: int) -> str:
        """Returns a printable, non-empty string of at most `limit` characters."""
        return self.checked_text(key, self._data.get(key), limit)

    def checked_text(self, key: str, value: object, limit: int) -> str:
        """Returns `value` if it is a text as in `text`; `key` says where it stood."""
        if not isinstance(value, str):
            raise self.fault(key, f"{_type_of(value)}, but a string is needed")
        if not 0 < len(value) <= limit:
            raise self.fault(key, f"{len(value)} characters, but 1 to {limit} are allowed")
        if not value.isprintable():
            raise self.fault(key, "it has characters that cannot be printed")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Returns a whole number from `low` to `high`, both included."""
        value = self._data.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(key, f"{_type_of(value)}, but a whole number is needed")
        if not low <= value <= high:
            raise self.fault(key, f"it is outside of {low} to {high}")
        return value

    def items(self, key: str, limit: int) -> list[object] | tuple[object, ...]:
        """Returns a list of at most `limit` items, each still unchecked."""
        value = self._data.get(key)
        if not isinstance(value, list | tuple):
            raise self.fault(key, f"{_type_of(value)}, but a list is needed")
        if len(value) > limit:
            raise self.fault(key, f"{len(value)} items, but at most {limit} are allowed")
        return value

    def hex_id(self, key: str) -> str:
        """Returns a string of 32 lower-case hex digits."""
        value = self.text(key, 32)
        if not _HEX_ID.fullmatch(value):
            raise self.fault(key, "32 lower-case hex digits are needed")
        return value

    def kind(self, key: str) -> EndpointKind:
        """Returns "publisher" or "subscription"."""
        value = self._data.get(key)
        for kind in _KINDS:
            if value == kind:
                return kind
        raise self.fault(key, f"it must be one of {', '.join(_KINDS)}")

    def type_name(self, key: str) -> str:
        """Returns the name of a message type."""
        value = self.text(key, _MAX_TYPE_NAME)
        if not _TYPE_NAME.fullmatch(value):
            raise self.fault(key, "only ASCII letters, digits, '_', '.', '/' and ':' are allowed")
        return value

    def topic(self, key: str) -> str:
        """Returns an absolute topic name."""
        value = self._string(key)
        try:
            validate_topic(value)
        except InvalidName as error:
            raise self.fault(key, str(error)) from error
        return value

    def node_name(self, key: str) -> str:
        """Returns a node's own name."""
        value = self._string(key)
        try:
            validate_node_name(value)
        except InvalidName as error:
            raise self.fault(key, str(error)) from error
        return value

    def namespace(self, key: str) -> str:
        """Returns an absolute namespace."""
        value = self._string(key)
        try:
            validate_namespace(value)
        except InvalidName as error:
            raise self.fault(key, str(error)) from error
        return value

    def full_node_name(self, key: str) -> str:
        """Returns a node's name with its namespace."""
        value = self._string(key)
        try:
            split_full_node_name(value)
        except InvalidName as error:
            raise self.fault(key, str(error)) from error
        return value

    def qos(self, key: str) -> QoS:
        """Returns a quality-of-service profile."""
        try:
            return QoS.from_dict(self._data.get(key))
        except QoSError as error:
            raise self.fault(key, str(error)) from error

    def host(self, key: str) -> str:
        """Returns the name of a host, "" for this one."""
        return "" if self._data.get(key, "") == "" else self.text(key, MAX_HOST_NAME)

    def host_key(self, key: str) -> str:
        """Returns the identity of a host, "" for this one."""
        return "" if self._data.get(key, "") == "" else self.hex_id(key)

    def transports(self, key: str) -> tuple[TransportInfo, ...]:
        """Returns what a process tells of its transports; who tells nothing has the one within its host."""
        return read_transports(self._data[key], pid=self._pid) if key in self._data else HOST_ONLY

    def _string(self, key: str) -> str:
        value = self._data.get(key)
        if not isinstance(value, str):
            raise self.fault(key, f"{_type_of(value)}, but a string is needed")
        return value


def _type_of(value: object) -> str:
    return "it is missing" if value is None else f"it is of type {type(value).__name__}"

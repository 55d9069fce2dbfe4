"""Board: what this process posts for other hosts, and what they have posted. Runs in the control thread."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lunar.errors import PeerFault
from lunar.graph.descriptions import EndpointInfo, Fields, NodeInfo
from lunar.graph.network.remote import MAX_BODY_BYTES, RemoteProcess
from lunar.graph.network.wants import Wants
from lunar.graph.transports import MAX_REASON, MAX_TRANSPORTS, printable
from lunar.names import is_transport_name

if TYPE_CHECKING:
    from lunar.abc import Discovery, News
    from lunar.graph.matchmaker import Matchmaker
    from lunar.graph.schemas import OwnSchemas

__all__ = ["Board"]

_log = logging.getLogger("lunar")

_MAX_NODES: Final = 1024
_MAX_ENDPOINTS: Final = 4096
_MAX_EARLY: Final = 10_000
_MAX_REASON: Final = 500
_MAX_OUT_FOR_MS: Final = 1_000_000_000
_MAX_NS: Final = 2**63 - 1
# Of these what is posted again under the same key is only their first word repeated.
_SAID_ONCE: Final = frozenset({"schema", "endpoint", "refusal", "want"})
# What is known of a node from the process that posts it.
_SAID_BY_PROCESS: Final = frozenset({"host", "host_key", "transports"})

_Record = Mapping[str, object]


class Board:
    """Who is there on other hosts, by what they have posted.

    A record is JSON with a "kind": the process itself, which is posted first, its nodes and endpoints, and its types
    for who asks.

    Args:
        discovery: The board itself; closed with this.
        record: What the others are told of this process.
        matchmaker: Hears of remote endpoints.
        schemas: What is told of this process's types.
        call_later: Runs a function in the control thread after so many seconds.
        gone: Called when a process is gone, after its endpoints were removed.
        faulted: Called when a process posted nonsense, with its name and the reason.
        refused: Called when a process says why an endpoint of its own does not match one of somebody else's, maybe of
            this process: with the process, both endpoints' ids and the reason.
        changed: Called when a process has other transports or addresses, or reaches this one by others than before.

    Attributes:
        processes: Those of other hosts that are there now, by who posts for them.
        wants: The schemas that are asked for.
    """

    def __init__(
        self,
        discovery: Discovery,
        record: _Record,
        matchmaker: Matchmaker,
        schemas: OwnSchemas,
        call_later: Callable[[float, Callable[[], object]], object],
        gone: Callable[[RemoteProcess], object],
        faulted: Callable[[str, str], object],
        refused: Callable[[RemoteProcess, str, str, str], object],
        changed: Callable[[RemoteProcess], object],
    ) -> None:
        self._discovery, self._matchmaker = discovery, matchmaker
        self._gone, self._faulted, self._refused, self._changed = gone, faulted, refused, changed
        self._record = record
        own_id = str(record["id"])
        self.wants = Wants(own_id, schemas, self._post, self._withdraw, call_later, matchmaker.judge_again)
        self.processes: dict[Hashable, RemoteProcess] = {}
        # Of each source: what it posted under each key, and what came before the process itself.
        self._records: dict[Hashable, dict[bytes, _Record]] = {}
        self._ignored: set[Hashable] = set()
        self._posted: set[bytes] = set()

    def fileno(self) -> int:
        """A descriptor that is readable while there are news."""
        return self._discovery.fileno()

    # ---- what we post ---------------------------------------------------------------------------------------------

    def introduce(self) -> None:
        """Posts this process."""
        self._post(f"process {self._record['id']}", {"kind": "process", **self._record})

    def introduce_again(self, news: _Record) -> None:
        """Posts this process again: some of what it says of itself has changed."""
        self._record = {**self._record, **news}
        self.introduce()

    def post_unreachable(self, process_id: str, transport: str, reason: str, out_for_s: float) -> None:
        """Posts that a transport has not reached a process for so long; an empty reason takes that back."""
        name = f"unreachable {self._record['id']} {process_id} {transport}"
        record = {"kind": "unreachable", "process": process_id, "transport": transport}
        if reason:
            milliseconds = min(int(out_for_s * 1000), _MAX_OUT_FOR_MS)
            self._post(name, {**record, "reason": printable(reason), "out_for_ms": milliseconds})
        else:
            self._withdraw(name)

    def post_node(self, node: NodeInfo) -> None:
        """Posts a node, without its endpoints."""
        node_body = {key: value for key, value in node.to_dict().items() if key not in _SAID_BY_PROCESS}
        body = {"kind": "node", "node": {**node_body, "endpoints": []}}
        self._post(self._node_key(node.full_name), body)

    def withdraw_node(self, full_name: str) -> None:
        """Takes a node back."""
        self._withdraw(self._node_key(full_name))

    def _node_key(self, full_name: str) -> str:
        return f"node {self._record['id']} {full_name}"

    def post_endpoint(self, info: EndpointInfo) -> None:
        """Posts an endpoint."""
        self._post(f"endpoint {info.id}", {"kind": "endpoint", "endpoint": info.to_dict()})

    def withdraw_endpoint(self, endpoint_id: str) -> None:
        """Takes an endpoint back, and its sign of life."""
        self._withdraw(f"sign {endpoint_id}")
        self._withdraw(f"endpoint {endpoint_id}")

    def post_refusal(self, own_id: str, their_id: str, reason: str) -> None:
        """Posts why an endpoint of this process cannot match one of another; what was said of the two is replaced."""
        self._withdraw(f"refusal {own_id} {their_id}")
        record = {"kind": "refusal", "by": own_id, "of": their_id, "reason": reason[:_MAX_REASON]}
        self._post(f"refusal {own_id} {their_id}", record)

    def withdraw_refusal(self, own_id: str, their_id: str) -> None:
        """Takes that back."""
        self._withdraw(f"refusal {own_id} {their_id}")

    def post_sign(self, publisher_id: str, count: int, age_ns: int) -> None:
        """Posts that a publisher gave a sign of life without a message.

        Args:
            publisher_id: The publisher.
            count: Another one each time.
            age_ns: How long ago it was given.
        """
        record = {"kind": "sign", "publisher": publisher_id, "count": count, "age_ns": age_ns}
        self._post(f"sign {publisher_id}", record)

    def _post(self, name: str, record: _Record) -> None:
        self._discovery.post(_key(name), json.dumps(record, separators=(",", ":")).encode())

    def _withdraw(self, name: str) -> None:
        self._discovery.withdraw(_key(name))

    # ---- what others post -----------------------------------------------------------------------------------------

    def serve(self, _mask: int = 0) -> None:
        """Takes in what is new."""
        for news in self._discovery.take():
            if news.source in self._ignored and news.key:
                continue
            try:
                self._take(news)
            except PeerFault as error:
                self._disown(news.source, error.reason)
            except Exception as error:  # noqa: BLE001 - what others have posted is still to be taken in
                _log.exception("the control thread failed over what a process on another host posted")
                self._disown(news.source, f"it posted something that could not be handled: {error!r}")

    def _take(self, news: News) -> None:
        if not news.key:
            self._ignored.discard(news.source)
            self._end(news.source, died=True)
            return
        records = self._records.setdefault(news.source, {})
        if news.body is None:
            removed = records.pop(news.key, None)
            if removed is not None:
                self._withdrawn(news.source, removed)
            return
        record = _parse(news.body)
        known = news.key in records
        if not known and len(records) >= _MAX_EARLY:
            raise PeerFault(f"it posts more than {_MAX_EARLY} records")
        records[news.key] = record
        if record.get("kind") == "process":
            self._meet(news.source, record)
        elif not (known and record.get("kind") in _SAID_ONCE) and (process := self.processes.get(news.source)):
            self._learn(process, record)

    def _meet(self, source: Hashable, record: _Record) -> None:
        process = RemoteProcess(record)
        if (known_one := self.processes.get(source)) is not None:
            self._meet_again(known_one, process)
            return
        if process.id == self._record["id"] or process.host_key == self._record["host_key"]:
            self._ignored.add(source)  # of this host: its link is how we meet
            self._records.pop(source, None)
            return
        self.processes[source] = process
        for known in list(self._records[source].values()):
            if known.get("kind") != "process":
                self._learn(process, known)

    def _meet_again(self, process: RemoteProcess, now: RemoteProcess) -> None:
        if (now.id, now.host_key) != (process.id, process.host_key):
            raise PeerFault("it says that it is another process now")
        if (now.transports, now.addresses) == (process.transports, process.addresses):
            return
        usable = {each.name for each in process.transports if each.beyond_host}
        process.renewed |= {
            each.name
            for each in now.transports
            if each.beyond_host
            and (each.name not in usable or now.addresses[each.name] != process.addresses[each.name])
        }
        process.transports, process.addresses = now.transports, now.addresses
        for name, node in process.nodes.items():
            process.nodes[name] = replace(node, transports=now.transports)
        self._changed(process)

    def _reaches(self, process: RemoteProcess, record: _Record, *, withdrawn: bool = False) -> None:
        fields = Fields(record, "unreachable")
        name, reason = fields.text("transport", MAX_REASON), fields.text("reason", MAX_REASON)
        if not is_transport_name(name):
            raise fields.fault("transport", "it is no transport's name")
        if fields.hex_id("process") != self._record["id"]:
            return
        out_for_s = fields.integer("out_for_ms", 0, _MAX_OUT_FOR_MS) / 1000
        if withdrawn:
            process.unreachable.pop(name, None)
            process.out_since_s.pop(name, None)
        elif len(process.unreachable) < MAX_TRANSPORTS:
            process.unreachable[name] = printable(reason) or "it says no reason"
            process.out_since_s[name] = time.monotonic() - out_for_s
        self._changed(process)

    def _learn(self, process: RemoteProcess, record: _Record) -> None:
        match record.get("kind"):
            case "node":
                node = NodeInfo.from_dict(record.get("node"), host=process.host)
                process.nodes[node.full_name] = replace(node, host_key=process.host_key, transports=process.transports)
                if len(process.nodes) > _MAX_NODES:
                    raise PeerFault(f"it announces more than {_MAX_NODES} nodes")
            case "schema":
                process.schemas.take(record, process.pid)
                self.wants.heard(process, str(record["hash"]))
            case "want":
                self.wants.asked(process, record)
            case "endpoint":
                self._add(process, EndpointInfo.from_dict(record.get("endpoint"), host=process.host))
            case "sign":
                fields = Fields(record, "sign")
                age_ns = fields.integer("age_ns", 0, _MAX_NS)
                self._matchmaker.remote_asserted(process, fields.hex_id("publisher"), age_ns)
            case "refusal":
                fields = Fields(record, "refusal")
                reason = fields.text("reason", _MAX_REASON)
                self._refused(process, fields.hex_id("by"), fields.hex_id("of"), reason)
            case "unreachable":
                self._reaches(process, record)
            case _:
                return  # a newer version may post more

    def _add(self, process: RemoteProcess, remote: EndpointInfo) -> None:
        if remote.id in process.endpoints:
            raise PeerFault("it announces an endpoint twice")
        if len(process.endpoints) >= _MAX_ENDPOINTS:
            raise PeerFault(f"it announces more than {_MAX_ENDPOINTS} endpoints")
        process.endpoints[remote.id] = remote
        self._matchmaker.remote_added(process, remote)

    def _withdrawn(self, source: Hashable, record: _Record) -> None:
        process = self.processes.get(source)
        if process is None:
            return
        match record.get("kind"):
            case "process":
                self._end(source, died=False)
            case "node":
                process.nodes.pop(NodeInfo.from_dict(record.get("node")).full_name, None)
            case "unreachable":
                self._reaches(process, record, withdrawn=True)
            case "want":
                process.wants -= 1
            case "endpoint":
                remote = process.endpoints.pop(EndpointInfo.from_dict(record.get("endpoint")).id, None)
                if remote is not None:
                    self._matchmaker.remote_removed(process, remote)

    def _end(self, source: Hashable, *, died: bool) -> None:
        self._records.pop(source, None)
        process = self.processes.pop(source, None)
        if process is None:
            return
        process.closed, process.lost = True, died
        for remote in list(process.endpoints.values()):
            self._matchmaker.remote_removed(process, remote, died=died)
        process.endpoints.clear()
        process.nodes.clear()
        self.wants.forget(process)
        self._gone(process)

    def _disown(self, source: Hashable, reason: str) -> None:
        name = str(self.processes.get(source, "a process on another host"))
        self._end(source, died=False)
        self._ignored.add(source)
        self._faulted(name, reason)

    def close(self) -> None:
        """Takes everything back that was posted, the process first: so the others know that it did not die."""
        self.wants.close()
        self._withdraw(f"process {self._record['id']}")
        self._discovery.close()


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]


def _parse(body: bytes) -> _Record:
    if len(body) > MAX_BODY_BYTES:
        raise PeerFault(f"it posted a record of more than {MAX_BODY_BYTES} bytes")
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PeerFault(f"it posted what is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise PeerFault("it posted a record that is not an object")
    if not isinstance(record.get("kind"), str):
        raise PeerFault("it posted a record of no kind")
    return record

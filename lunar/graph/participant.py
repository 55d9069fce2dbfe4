"""A process's part in a domain: its links, its nodes and endpoints, and what it tells and hears over the links.

Theory. Everything about the graph (who is there, who matches whom) belongs to one thread, the control thread, so
none of it needs a lock; other threads hand it work with `post`. It sleeps until a socket or a newcomer wakes it and
runs nothing per message: samples pass between the users' threads alone. A peer's death is the end of file on its
link, which the kernel delivers however it died.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVarTuple

from lunar import events
from lunar.errors import LunarError, PeerFault, ResourceExhausted, from_errno
from lunar.graph.control import ControlThread
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
from lunar.graph.endpoints import LocalPublisher, LocalSubscription
from lunar.graph.link import Link, Operation, duplicates
from lunar.graph.matchmaker import Matchmaker, report_losses
from lunar.graph.meeting import Meeting
from lunar.graph.promises import Promises
from lunar.graph.rendezvous import Rendezvous, is_socket_name
from lunar.graph.routes import MAX_ROUTES
from lunar.graph.schemas import OwnSchemas
from lunar.graph.transports import TransportInfo
from lunar.graph.waiting import acquire_bells, release_bells

if TYPE_CHECKING:
    from lunar._native._bus import ReaderMatch, WriterMatch
    from lunar.abc import ReceiverEnd, Transport
    from lunar.config import Config
    from lunar.events import Event
    from lunar.graph.endpoints import AnyLink
    from lunar.graph.network.presence import Presence, Surroundings
    from lunar.graph.routes import Route

__all__ = ["Participant"]

_log = logging.getLogger("lunar")

Ts = TypeVarTuple("Ts")

# At a limit, until it is tried again.
_AGAIN_S = 0.25
_REPORT_LOSSES_EVERY_S = 0.25
_LOOK_AGAIN_S = 0.005
# How long one peer may keep us, before it is the next one's turn.
_TURN_S = 0.005
# What an honest process never comes near to, and a hostile one gets at most.
_MAX_NODES = 1024
_MAX_ENDPOINTS = 4096
_MAX_LINKS = 8


class Participant:
    """One process in one domain. Its methods may be called from any thread; the private ones are the control thread's.

    Args:
        config: Domain, runtime directory, group.
        transport: The transport that serves this host.
        surroundings: What to take part in a network with; None: nobody beyond this host is to be met.

    Raises:
        ConfigError: The runtime directory, or a transport's setting, cannot be used.
        TransportUnavailable: Discovery, or a transport, cannot run here.
        ResourceExhausted: A limit was reached.
    """

    def __init__(self, config: Config, transport: Transport, surroundings: Surroundings | None = None) -> None:
        self.config = config
        self.id = os.urandom(16).hex()
        self.transport = transport
        self._surroundings = surroundings
        self._presence: Presence | None = None
        self._transports: tuple[TransportInfo, ...] = (TransportInfo(transport.name, transport.capabilities),)
        self._links: dict[int, Link] = {}
        self._nodes: dict[str, tuple[NodeInfo, Callable[[Event], None]]] = {}
        self._schemas = OwnSchemas()
        self._names: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False
        with ExitStack() as undo:
            try:
                self._set_up(undo)
            except OSError as error:
                raise from_errno(-(error.errno or errno.EIO), "join a domain") from error
            except (MemoryError, RuntimeError) as error:  # RuntimeError: no more threads
                raise ResourceExhausted(f"join a domain: {str(error) or 'out of memory'}") from error
            undo.pop_all()

    def _set_up(self, undo: ExitStack) -> None:
        """Opens everything and starts the thread; `undo` closes what was opened."""
        self.bells = acquire_bells()
        undo.callback(release_bells)
        self._control = ControlThread()
        undo.callback(self._control.close_descriptors)
        self._rendezvous = Rendezvous(self.config, self.id)
        undo.callback(self._rendezvous.close)
        self._meeting = Meeting(
            self._rendezvous, self._control, lambda: [link.name for link in self._links.values()], self._open
        )
        self.matchmaker = Matchmaker(self._all_links, self.bells.kick_all, self._control.call_later)
        self.promises = Promises(self.matchmaker, self._control.call_later)
        undo.callback(self._close_links)
        self._link_with_ourselves()
        if self._surroundings is not None:
            self._presence = self._open_presence(self._surroundings)
            self._transports = self._presence.transports
            undo.callback(self._presence.close)
            self.post(self._presence.begin)
        self.post(self._meeting.begin)
        self._control.start(self._leave)

    def _open_presence(self, surroundings: Surroundings) -> Presence:
        from lunar.graph.network.presence import Presence  # most processes stay on their host

        return Presence(
            self.config,
            self.id,
            surroundings,
            self.transport,
            self.bells,
            self._control,
            self.matchmaker,
            self._schemas,
            self._fault_remote,
            self._announce_transports,
            self._announce_routes,
        )

    def _all_links(self) -> list[AnyLink]:
        return [*self._links.values(), *(self._presence.processes if self._presence is not None else ())]

    def _fault_remote(self, name: str, reason: str) -> None:
        self._tell(events.PeerFaulted(0, f"{name}: {reason}"))

    def _close_links(self) -> None:
        for link in self._links.values():
            link.close()

    def _link_with_ourselves(self) -> None:
        # So that endpoints of one process meet like any others: one end has our publishers, the other our
        # subscriptions.
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            for connection, kind in zip(ends, ("publisher", "subscription"), strict=True):
                self._open(connection, os.getpid(), os.geteuid(), self._rendezvous.name, frozenset({kind}))
        except BaseException:
            for end in ends:
                end.close()
            raise

    # ---- for other threads ------------------------------------------------------------------------------------

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Runs a function in the control thread, soon and in order."""
        self._control.post(function, *args)

    def add_node(self, node: NodeInfo, notify: Callable[[Event], None]) -> None:
        """Announces a node; `notify` takes the events that concern no endpoint.

        Raises:
            LunarError: This process has a node of that name already.
        """
        with self._lock:
            if node.full_name in self._names:
                raise LunarError(f"this process already has a node {node.full_name} in domain {self.config.domain}")
            self._names.add(node.full_name)
        self.post(self._add_node, node, notify)

    def remove_node(self, full_name: str) -> None:
        """Takes a node back; its endpoints are closed already."""
        with self._lock:
            self._names.discard(full_name)
        self.post(self._remove_node, full_name)

    def add_publisher(self, local: LocalPublisher) -> None:
        """Announces a publisher and matches it."""
        self.post(self._add_endpoint, local)

    def add_subscription(self, local: LocalSubscription) -> None:
        """Announces a subscription and matches it."""
        self.post(self._add_endpoint, local)

    def remove_endpoint(self, info: EndpointInfo) -> None:
        """Takes an endpoint back; its native side is closed already."""
        self.post(self._remove_endpoint, info)

    def report_fault(self, native: ReaderMatch | WriterMatch, reason: str) -> None:
        """A match's peer broke the rules: disconnect that peer."""
        self.post(self._fault_match, native, reason)

    def report_losses(self, local: LocalPublisher | LocalSubscription) -> None:
        """Samples of this endpoint were lost; at most a few reports a second come of it."""
        self.post(self._report_losses, local)

    def report_sign(self, local: LocalPublisher) -> None:
        """A publisher gave a sign of life without a message."""
        if self._presence is not None:
            self._presence.signs.given(local)

    def snapshot(self, timeout_s: float, types_of: Collection[str] | None = ()) -> GraphSnapshot:
        """Waits until everybody who is there now has told everything, then tells who is there.

        Who is on other hosts nobody knows beforehand: of them it waits for those that answer soon.

        Args:
            timeout_s: Who has not answered by then is listed as unreachable.
            types_of: Topics of which the types' schemas are needed; None: of all. On this host they are told anyway.
        """
        awaited: set[str] | None = None
        done = threading.Event()
        result: list[GraphSnapshot] = []
        failure: list[LunarError] = []
        give_up_at = time.monotonic() + timeout_s

        def look() -> None:
            nonlocal awaited
            try:
                missing = self._missing()
            except LunarError as error:
                failure.append(error)
                done.set()
                return
            unsettled = self._presence is not None and not self._presence.is_settled
            is_late = time.monotonic() >= give_up_at
            if is_late or not (missing or unsettled):
                awaited = self._await_types(awaited, types_of)
            if (missing or unsettled or awaited) and not is_late:
                self._control.call_later(_LOOK_AGAIN_S, look)
                return
            result.append(self._describe(missing, awaited or ()))
            done.set()

        self.post(look)
        if not done.wait(timeout_s + 5):
            raise LunarError("the control thread does not answer")
        if failure:
            raise failure[0]
        return result[0]

    def close(self) -> None:
        """Says goodbye to everybody and ends the thread; a second call waits too. Not for the control thread."""
        self._control.close()
        with self._lock:
            if not self._closed:
                self._closed = True
                release_bells()

    def pause(self, timeout_s: float) -> bool:
        """Waits until the control thread is at rest and keeps it there; `resume` if this returned True."""
        return self._control.pause(timeout_s)

    def resume(self) -> None:
        """Lets the control thread go on."""
        self._control.resume()

    def close_after_fork(self) -> None:
        """In a child process: close our copies of the descriptors, and touch nothing that is shared."""
        self._closed = True
        self._control.close_after_fork()
        self._rendezvous.close_descriptors()
        for link in self._links.values():
            link.close_descriptors()
        for local in self.matchmaker.endpoints:
            (local.writer if isinstance(local, LocalPublisher) else local.reader)._close()
        if self._presence is not None:
            self._presence.close_after_fork()

    # ---- the control thread -----------------------------------------------------------------------------------

    def _open(
        self,
        connection: socket.socket,
        pid: int,
        uid: int,
        name: str | None,
        announces: frozenset[str] = frozenset({"publisher", "subscription"}),
    ) -> None:
        if pid and sum(link.pid == pid for link in self._links.values()) >= _MAX_LINKS:
            raise PeerFault(f"it has {_MAX_LINKS} connections with us already", pid)
        link = Link(connection, self.bells, self._want_flush, pid=pid, uid=uid, name=name, announces=announces)
        try:
            self._control.watch(connection.fileno(), partial(self._serve_link, link))
            self._links[connection.fileno()] = link
            if name is not None:
                self._introduce(link)
        except BaseException:
            self._links.pop(connection.fileno(), None)
            self._control.unwatch(connection.fileno())
            link.close()
            raise

    def _introduce(self, link: Link) -> None:
        """Says who we are and what we have. Who connected does so first; the other answers."""
        link.introduced = True
        link.greet(self.id, self._rendezvous.name, self.config.domain)
        operations: list[Operation] = [{"op": "node", "node": _bare(node)} for node, _ in self._nodes.values()]
        for local in self.matchmaker.endpoints:
            if local.info.kind in link.announces:
                operations += self._told(link, local)
        link.send_operations([*operations, {"op": "synced"}])

    def _told(self, link: Link, local: LocalPublisher | LocalSubscription) -> list[Operation]:
        """What a peer is told of an endpoint: itself, and before that its type, once a link."""
        endpoint: Operation = {"op": "endpoint", "endpoint": local.info.to_dict()}
        schema = self._schemas.operation(local.described, local.info.type_hash, link.told)
        return [endpoint] if schema is None else [schema, endpoint]

    def _want_flush(self, link: Link) -> None:
        self.post(self._attend, link)

    def _attend(self, link: Link) -> None:
        """Waits for what the link needs next: something to read, room to send, or better times."""
        if link.closed:
            return
        if link.overflowed:
            # It may only be stopped, so what it has published counts, and it is met again.
            link.distrusted = True
            self._end_link(link)
            self._tell(events.PeerFaulted(link.pid, "it does not read what it is sent"))
            if link.name is not None:
                self._meeting.meet_anew(link.name)
            return
        if link.congested:
            self._control.call_later(_AGAIN_S, partial(self._flush, link))
        self._control.want(link.socket.fileno(), read=not link.stalled, write=link.has_backlog and not link.congested)

    def _flush(self, link: Link) -> None:
        link.flush()
        self._attend(link)

    def _serve_link(self, link: Link, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush(link)
        if link.closed or not mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            self._read(link)
        except BlockingIOError:
            return
        except PeerFault as error:
            self._fault(link, error.reason, None)
        except (ResourceExhausted, MemoryError) as error:
            if mask & select.EPOLLHUP:
                _log.error("the last words of the process with pid %d are lost: %s", link.pid, error)
                self._end_link(link)
            else:
                self._stall(link, error)
        except Exception as error:  # noqa: BLE001 - the others are to be served on
            _log.exception("the control thread failed over what the process with pid %d sent", link.pid)
            self._fault(link, f"it sent something that could not be handled: {error!r}", None)

    def _read(self, link: Link) -> None:
        until = time.monotonic() + _TURN_S
        while time.monotonic() < until:
            self._handle_inbox(link)
            if link.closed:
                return
            received = link.receive()
            if received is None:
                self._end_link(link)
                return
            link.inbox.extend(received)
        self._handle_inbox(link)

    def _stall(self, link: Link, error: Exception) -> None:
        if not link.complained:
            link.complained = True
            _log.error("waiting until more can be taken from the process with pid %d: %s", link.pid, error)
        link.stalled = True
        self._attend(link)
        self._control.call_later(_AGAIN_S, partial(self._resume_link, link))

    def _resume_link(self, link: Link) -> None:
        if not link.closed:
            link.stalled = False
            self._attend(link)
            self._serve_link(link, select.EPOLLIN)

    def _handle_inbox(self, link: Link) -> None:
        """Handles what was received; at a limit of ours it stays, to be handled again."""
        while link.inbox:
            operation, fds = link.inbox[0]
            try:
                copies = duplicates(fds)
            except OSError as error:
                raise from_errno(-(error.errno or errno.EIO), "keep a descriptor") from error
            self._handle_one(link, operation, copies)
            if link.closed:
                return
            link.complained = False
            link.inbox.popleft()
            for fd in fds:
                os.close(fd)

    def _handle_one(self, link: Link, operation: Operation, fds: list[int]) -> None:
        op = operation["op"]
        if op == "hello":
            link.take_greeting(operation, fds)
            self._identify(link, operation)
            return
        if op == "transport" and link.greeted:
            self._handle_transport(link, operation, fds)
            return
        for fd in fds:
            os.close(fd)
        if op == "nudge":
            if link.greeted or link.nudged:
                raise PeerFault("it nudges us without need", link.pid)
            link.nudged = True
            self._meeting.look()
            return
        if fds or not link.greeted:
            raise PeerFault(f"it sent {str(op)[:40]!r} before its greeting, or with descriptors", link.pid)
        self._handle_news(link, operation)

    def _handle_news(self, link: Link, operation: Operation) -> None:
        match operation["op"]:
            case "synced":
                link.synced = True
            case "bye":
                link.said_bye = True
            case "node":
                node = NodeInfo.from_dict(operation.get("node"), pid=link.pid, uid=link.uid)
                link.nodes[node.full_name] = replace(node, endpoints=())
                if len(link.nodes) > _MAX_NODES and not self._is_ours(link):
                    raise PeerFault(f"it announces more than {_MAX_NODES} nodes", link.pid)
            case "node_gone":
                link.nodes.pop(str(operation.get("name")), None)
            case "schema":
                link.schemas.take(operation, link.pid)
            case "endpoint":
                self._add_remote(link, EndpointInfo.from_dict(operation.get("endpoint"), pid=link.pid))
            case "endpoint_gone":
                remote = link.endpoints.pop(str(operation.get("id")), None)
                if remote is not None:
                    self.matchmaker.remote_removed(link, remote)
            case op:
                raise PeerFault(f"it sent an unknown operation {str(op)[:40]!r}", link.pid)

    def _identify(self, link: Link, hello: Operation) -> None:
        name = hello.get("name")
        if not is_socket_name(name) or hello.get("domain") != self.config.domain:
            raise PeerFault("its greeting names no socket of this domain", link.pid)
        # Whom we connected to has the name that we know; who connects to us came later, and is called so.
        if name != link.name and (link.name is not None or name <= self._rendezvous.name):
            raise PeerFault("its greeting names a socket that is not its own", link.pid)
        link.name = name
        if not link.introduced:
            self._introduce(link)
        link.receivers["shm"] = self.transport.open_receiver(link.peer)

    def _is_ours(self, link: Link) -> bool:
        """Tells whether it is an end of our link with ourselves."""
        return link.name == self._rendezvous.name

    def _add_remote(self, link: Link, remote: EndpointInfo) -> None:
        if remote.id in link.endpoints:
            raise PeerFault("it announces an endpoint twice", link.pid)
        if len(link.endpoints) >= _MAX_ENDPOINTS and not self._is_ours(link):
            raise PeerFault(f"it announces more than {_MAX_ENDPOINTS} endpoints", link.pid)
        link.endpoints[remote.id] = remote
        self.matchmaker.remote_added(link, remote)

    def _handle_transport(self, link: Link, operation: Operation, fds: list[int]) -> None:
        try:
            receiver, body = _addressee(link, operation)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        offer = receiver.receive(body, fds)
        if offer is None:
            self.matchmaker.segment_arrived()
        else:
            self.matchmaker.take_offer(link, offer)

    def _end_link(self, link: Link, *, at_once: bool = False) -> None:
        if link.closed:
            return
        self._links.pop(link.socket.fileno(), None)
        self._control.unwatch(link.socket.fileno())
        for remote in list(link.endpoints.values()):
            self.matchmaker.remote_removed(link, remote, at_once=at_once, died=not link.said_bye)
        link.endpoints.clear()
        link.nodes.clear()
        link.close()
        if not link.said_bye and link.name is not None:
            self._meeting.ended(link.name, greeted=link.greeted)

    def _fault_match(self, native: ReaderMatch | WriterMatch, reason: str) -> None:
        found = self.matchmaker.link_of(native)
        if found is not None and isinstance(found[1], Link):
            self._fault(found[1], reason, found[0].info)

    def _fault(self, link: Link, reason: str, local: EndpointInfo | None) -> None:
        if link.closed:
            return
        if link.name is not None:
            self._meeting.disown(link.name)
        link.distrusted = True
        self._end_link(link, at_once=True)
        self._tell(events.PeerFaulted(link.pid, reason, local))

    def _tell(self, event: Event) -> None:
        """Tells every node what concerns them all."""
        for _, notify in list(self._nodes.values()):
            notify(event)
        if not self._nodes:
            _log.warning("%s", event)

    def _report_losses(self, local: LocalPublisher | LocalSubscription) -> None:
        report_losses(local)
        native = local.writer if isinstance(local, LocalPublisher) else local.reader

        def again() -> None:
            native._reported()
            report_losses(local)

        self._control.call_later(_REPORT_LOSSES_EVERY_S, again)

    def _add_node(self, node: NodeInfo, notify: Callable[[Event], None]) -> None:
        node = replace(node, transports=self._transports)
        self._nodes[node.full_name] = (node, notify)
        self._announce({"op": "node", "node": _bare(node)})
        if self._presence is not None:
            self._presence.add_node(node)

    def _announce_transports(self, transports: tuple[TransportInfo, ...]) -> None:
        self._transports = transports
        for node, _ in list(self._nodes.values()):
            self._announce_again(replace(node, transports=transports))

    def _announce_routes(self, routes: tuple[Route, ...]) -> None:
        names = {local.info.id: local.info.node_name for local in self.matchmaker.endpoints}
        for full_name, (node, _) in list(self._nodes.items()):
            ends = {end_id for end_id, name in names.items() if name == full_name}
            own = tuple(route for route in routes if ends & {route.publisher_id, route.subscription_id})[:MAX_ROUTES]
            if own != node.routes:
                self._announce_again(replace(node, routes=own))

    def _announce_again(self, node: NodeInfo) -> None:
        self._nodes[node.full_name] = (node, self._nodes[node.full_name][1])
        self._announce({"op": "node", "node": _bare(node)})
        if self._presence is not None:
            self._presence.add_node(node)

    def _remove_node(self, full_name: str) -> None:
        self._nodes.pop(full_name, None)
        self._announce({"op": "node_gone", "name": full_name})
        if self._presence is not None:
            self._presence.remove_node(full_name)

    def _announce(self, operation: Operation, kind: str | None = None) -> None:
        for link in self._links.values():
            if link.introduced and (kind is None or kind in link.announces):
                link.send_operations([operation])

    def _add_endpoint(self, local: LocalPublisher | LocalSubscription) -> None:
        for link in self._links.values():
            if link.introduced and local.info.kind in link.announces:
                link.send_operations(self._told(link, local))
        if self._presence is not None:
            self._presence.add_endpoint(local)
        if isinstance(local, LocalPublisher):
            self.matchmaker.add_publisher(local)
        else:
            self.matchmaker.add_subscription(local)
        self.promises.watch(local)

    def _remove_endpoint(self, info: EndpointInfo) -> None:
        if info.kind == "publisher":
            self.matchmaker.remove_publisher(info.id)
        else:
            self.matchmaker.remove_subscription(info.id)
        self._announce({"op": "endpoint_gone", "id": info.id}, info.kind)
        if self._presence is not None:
            self._presence.remove_endpoint(info.id)

    def _missing(self) -> list[str]:
        synced = {link.name for link in self._links.values() if link.synced}
        unheard = [name for name in self._rendezvous.others() if name not in synced]
        return [name for name in unheard if not self._rendezvous.remove_if_dead(name)]

    def _await_types(self, awaited: set[str] | None, types_of: Collection[str] | None) -> set[str]:
        """Asks other hosts for the types that a snapshot needs, once; returns the hashes of those not yet told."""
        if self._presence is None:
            return set()
        if awaited is not None:
            return set(filter(self._presence.board.wants.is_pending, awaited))
        here = [local.info for local in self.matchmaker.endpoints]
        for link in self._links.values():
            here += link.endpoints.values()
        return self._presence.ask_types(here, [link.schemas for link in self._all_links()], types_of)

    def _describe(self, missing: list[str], awaited: Collection[str]) -> GraphSnapshot:
        own = [local.info for local in self.matchmaker.endpoints]
        nodes = [_with_endpoints(node, own) for node, _ in self._nodes.values()]
        for link in self._links.values():
            if not self._is_ours(link):
                nodes += [_with_endpoints(node, list(link.endpoints.values())) for node in link.nodes.values()]
        remote = self._presence.processes if self._presence is not None else []
        for process in remote:
            nodes += [_with_endpoints(node, list(process.endpoints.values())) for node in process.nodes.values()]
        pids = {link.name: link.pid for link in self._links.values()}  # the kernel's word, as soon as it is connected
        unreachable = [
            f"the process {f'with pid {pids[name]} ' if name in pids else ''}"
            f"behind {self._rendezvous.directory / name} does not answer"
            for name in missing
        ]
        schemas = self._schemas.with_those_of(link.schemas for link in self._all_links())
        nodes.sort(key=lambda node: (node.full_name, node.pid))
        return GraphSnapshot(tuple(nodes), tuple(unreachable), schemas, self._transports, frozenset(awaited))

    def _leave(self) -> None:
        if self._presence is not None:
            self._presence.close()
        for link in list(self._links.values()):
            link.flush()
            if link.introduced:
                link.send_operations([{"op": "bye"}])
            link.close()
        self._links.clear()
        self._rendezvous.close()


def _addressee(link: Link, operation: Operation) -> tuple[ReceiverEnd, dict[str, object]]:
    """Whom a transport's message is for, and its body: always of a publisher that the peer has announced."""
    receiver = link.receivers.get(str(operation.get("transport")))
    body = operation.get("body")
    if receiver is None or not isinstance(body, dict):
        raise PeerFault("it sent a message for a transport that we do not share", link.pid)
    publisher_id = body.get("publisher")
    remote = link.endpoints.get(publisher_id) if isinstance(publisher_id, str) else None
    if remote is None or remote.kind != "publisher":
        # Else it could have us keep memory for publishers without end.
        raise PeerFault("it sent a transport's message of a publisher that it did not announce", link.pid)
    return receiver, body


def _bare(node: NodeInfo) -> dict[str, object]:
    return {**node.to_dict(), "endpoints": []}


def _with_endpoints(node: NodeInfo, endpoints: list[EndpointInfo]) -> NodeInfo:
    own = tuple(endpoint for endpoint in endpoints if endpoint.node_name == node.full_name)
    return replace(node, endpoints=own)

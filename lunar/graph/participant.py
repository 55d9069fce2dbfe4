"""A process's part in a domain: its socket, its links, its endpoints, and the thread that looks after them.

Theory. Everything about the graph (who is there, who matches whom) belongs to one thread, the control thread, so
none of it needs a lock; other threads hand it work with `post`. It sleeps until a socket or a newcomer wakes it and
runs nothing per message: samples pass between the users' threads alone. A peer's death is the end of file on its
link, which the kernel delivers however it died.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVarTuple

from lunar import events
from lunar.errors import LunarError, PeerFault
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.graph.endpoints import LocalPublisher, LocalSubscription
from lunar.graph.link import NUDGE, Link, Operation
from lunar.graph.matchmaker import Matchmaker, report_losses
from lunar.graph.promises import Promises
from lunar.graph.rendezvous import Rendezvous, is_socket_name
from lunar.graph.waiting import acquire_bells, release_bells

if TYPE_CHECKING:
    from lunar._native._bus import ReaderMatch, WriterMatch
    from lunar.abc import Transport
    from lunar.config import Config
    from lunar.events import Event

__all__ = ["Participant"]

_log = logging.getLogger("lunar")

Ts = TypeVarTuple("Ts")

_CONNECT_AGAIN_S = 0.02
_REPORT_LOSSES_EVERY_S = 0.25
_PACKETS_AT_ONCE = 64
# More than the kernel takes in one call (2**31 ms) would be an error.
_LONGEST_SLEEP_S = 3600.0


class Participant:
    """One process in one domain. Its methods may be called from any thread; the private ones are the control thread's.

    Args:
        config: Domain, runtime directory, group.
        transport: The transport that serves this host.

    Raises:
        ConfigError: The runtime directory cannot be used.
        ResourceExhausted: A limit was reached.
    """

    def __init__(self, config: Config, transport: Transport) -> None:
        self.config = config
        self.id = os.urandom(16).hex()
        self.transport = transport
        self.bells = acquire_bells()
        try:
            self._rendezvous = Rendezvous(config, self.id)
        except BaseException:
            release_bells()
            raise
        self._links: dict[int, Link] = {}
        self._nodes: dict[str, tuple[NodeInfo, Callable[[Event], None]]] = {}
        self._connecting: set[str] = set()
        self.matchmaker = Matchmaker(self._links.values, self.bells.kick_all)
        self.promises = Promises(self.matchmaker, self.call_later)
        self._work: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        for fd in (self._wake, self._rendezvous.listener.fileno()):
            self._epoll.register(fd, select.EPOLLIN)
        self._closing = False
        self._closed = False
        self._at_work = threading.RLock()
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="lunar-control", daemon=True)
        self.post(self._join)
        self._thread.start()

    # ---- for other threads ------------------------------------------------------------------------------------

    def post(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Runs a function in the control thread, soon and in order."""
        self._work.append(partial(function, *args))
        try:
            os.eventfd_write(self._wake, 1)
        except OSError:  # closed, or full of wake-ups
            return

    def call_later(self, delay_s: float, function: Callable[[], object]) -> None:
        """Runs a function in the control thread after a while; for that thread only."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), function))

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

    def snapshot(self, timeout_s: float) -> tuple[list[NodeInfo], list[str]]:
        """Waits until everybody who is there now has told everything, then tells who is there.

        Returns:
            The nodes, endpoints included, and a reason for each process that did not answer.
        """
        done = threading.Event()
        result: list[tuple[list[NodeInfo], list[str]]] = []
        give_up_at = time.monotonic() + timeout_s

        def look() -> None:
            missing = self._missing()
            if missing and time.monotonic() < give_up_at:
                self.call_later(0.005, look)
                return
            result.append(self._describe(missing))
            done.set()

        self.post(look)
        if not done.wait(timeout_s + 5):
            raise LunarError("the control thread does not answer")
        return result[0]

    def close(self) -> None:
        """Says goodbye to everybody and ends the thread; a second call waits too. Not for the control thread."""
        self._closing = True
        self.post(lambda: None)
        self._thread.join()
        with self._lock:
            if not self._closed:
                self._closed = True
                release_bells()

    def pause(self, timeout_s: float) -> bool:
        """Waits until the control thread is at rest and keeps it there; `resume` if this returned True.

        A fork needs that: what is half done (a socket accepted, in no list yet) the child could not find and close.
        """
        return self._at_work.acquire(timeout=timeout_s)

    def resume(self) -> None:
        """Lets the control thread go on."""
        self._at_work.release()

    def close_after_fork(self) -> None:
        """In a child process: close our copies of the descriptors, and touch nothing that is shared."""
        self._closing = self._closed = True
        self._epoll.close()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)
        self._rendezvous.close_descriptors()
        for link in self._links.values():
            link.close_descriptors()
        for local in self.matchmaker.endpoints:
            (local.writer if isinstance(local, LocalPublisher) else local.reader)._close()

    # ---- the control thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing or self._work:
                ready = self._poll()
                with self._at_work:
                    for fd, mask in ready:
                        self._serve(fd, mask)
                    self._run_due()
        finally:
            with self._at_work:
                self._leave()

    def _poll(self) -> list[tuple[int, int]]:
        timeout = -1.0
        if self._work:
            timeout = 0
        elif self._timers:
            timeout = min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_SLEEP_S)
        return self._epoll.poll(timeout)

    def _run_due(self) -> None:
        for _ in range(len(self._work)):
            self._guarded(self._work.popleft())
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._guarded(heapq.heappop(self._timers)[2])

    def _guarded(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception:  # noqa: BLE001 - one bad request must not end the thread that everybody depends on
            _log.exception("the control thread failed in %s", function)

    def _serve(self, fd: int, mask: int) -> None:
        if fd == self._wake:
            os.eventfd_read(self._wake)
        elif fd == self._rendezvous.listener.fileno():
            self._guarded(self._accept)
        elif (link := self._links.get(fd)) is not None:
            self._serve_link(link, mask)

    def _join(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        # A link with ourselves, so that endpoints of one process meet like any others: one end has our
        # publishers, the other our subscriptions.
        for connection, kind in ((ours, "publisher"), (theirs, "subscription")):
            self._open(connection, os.getpid(), os.geteuid(), self._rendezvous.name, frozenset({kind}))
        self._meet()
        for name in self._rendezvous.others():
            if not self._rendezvous.is_ours_to_connect(name):
                self._nudge(name)
        self._rendezvous.remove_abandoned()

    def _nudge(self, name: str) -> None:
        """Asks a process that has to connect to us, and may have looked before we appeared, to look again."""
        try:
            connection = self._rendezvous.connect(name)
        except BlockingIOError:
            self.call_later(_CONNECT_AGAIN_S, lambda: self._nudge(name))
            return
        except LunarError as error:
            _log.error("%s", error)
            return
        if connection is not None:
            with connection, suppress(OSError):
                connection.send(NUDGE)

    def _meet(self) -> None:
        known = {link.name for link in self._links.values()} | self._connecting
        for name in self._rendezvous.others():
            if name not in known and self._rendezvous.is_ours_to_connect(name):
                self._connect(name)

    def _connect(self, name: str) -> None:
        self._connecting.discard(name)
        try:
            connection = self._rendezvous.connect(name)
        except BlockingIOError:
            self._connecting.add(name)
            self.call_later(_CONNECT_AGAIN_S, lambda: self._connect(name))
            return
        except LunarError as error:
            _log.error("%s", error)
            return
        if connection is not None:
            self._greet_if_allowed(connection, name)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._rendezvous.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Out of descriptors: leave it in the backlog and look again when some may have been freed.
                _log.error("cannot accept a peer: %s", error.strerror)
                listener = self._rendezvous.listener.fileno()
                self._epoll.modify(listener, 0)
                self.call_later(0.5, partial(self._epoll.modify, listener, select.EPOLLIN))
                return
            connection.setblocking(False)
            self._greet_if_allowed(connection, None)

    def _greet_if_allowed(self, connection: socket.socket, name: str | None) -> None:
        pid, uid, allowed = self._rendezvous.may_join(connection)
        if not allowed:
            _log.warning("refused a process (pid %d) of user %d: the domain is not open to it", pid, uid)
            connection.close()
            return
        try:
            self._open(connection, pid, uid, name)
        except OSError as error:
            connection.close()
            _log.error("cannot serve the peer with pid %d: %s", pid, error.strerror)

    def _open(
        self,
        connection: socket.socket,
        pid: int,
        uid: int,
        name: str | None,
        announces: frozenset[str] = frozenset({"publisher", "subscription"}),
    ) -> None:
        link = Link(connection, self.bells, self._want_flush, pid=pid, uid=uid, name=name, announces=announces)
        self._links[connection.fileno()] = link
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        if name is not None:
            self._introduce(link)

    def _introduce(self, link: Link) -> None:
        """Says who we are and what we have. Who connected does so first; the other answers."""
        link.introduced = True
        link.greet(self.id, self._rendezvous.name, self.config.domain)
        operations: list[Operation] = [{"op": "node", "node": _bare(node)} for node, _ in self._nodes.values()]
        operations += [
            {"op": "endpoint", "endpoint": local.info.to_dict()}
            for local in self.matchmaker.endpoints
            if local.info.kind in link.announces
        ]
        link.send_operations([*operations, {"op": "synced"}])

    def _want_flush(self, link: Link) -> None:
        self.post(self._watch_for_room, link)

    def _watch_for_room(self, link: Link) -> None:
        if not link.closed:
            events_wanted = select.EPOLLIN | (select.EPOLLOUT if link.has_backlog else 0)
            self._epoll.modify(link.socket.fileno(), events_wanted)

    def _serve_link(self, link: Link, mask: int) -> None:
        if mask & select.EPOLLOUT:
            link.flush()
            self._watch_for_room(link)
        if not mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            for _ in range(_PACKETS_AT_ONCE):
                received = link.receive()
                if received is None:
                    self._end_link(link)
                    return
                self._handle(link, received)
                if link.closed:
                    return
        except BlockingIOError:
            return
        except PeerFault as error:
            self._fault(link, error.reason, None)
        except LunarError as error:  # a limit of ours
            _log.error("%s", error)

    def _handle(self, link: Link, received: list[tuple[Operation, list[int]]]) -> None:
        waiting = deque(received)
        try:
            while waiting:
                operation, fds = waiting.popleft()
                self._handle_one(link, operation, fds)
        finally:
            for _, fds in waiting:
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
            self._meet()
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
                link.nodes[node.full_name] = node
            case "node_gone":
                link.nodes.pop(str(operation.get("name")), None)
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
        link.name = name
        if not link.introduced:
            self._introduce(link)
        link.receivers["shm"] = self.transport.open_receiver(link.peer)

    def _add_remote(self, link: Link, remote: EndpointInfo) -> None:
        if remote.id in link.endpoints:
            raise PeerFault("it announces an endpoint twice", link.pid)
        link.endpoints[remote.id] = remote
        self.matchmaker.remote_added(link, remote)

    def _handle_transport(self, link: Link, operation: Operation, fds: list[int]) -> None:
        receiver = link.receivers.get(str(operation.get("transport")))
        body = operation.get("body")
        if receiver is None or not isinstance(body, dict):
            for fd in fds:
                os.close(fd)
            raise PeerFault("it sent a message for a transport that we do not share", link.pid)
        offer = receiver.receive(body, fds)
        if offer is None:
            self.matchmaker.segment_arrived()
        else:
            self.matchmaker.take_offer(link, offer)

    def _end_link(self, link: Link, *, at_once: bool = False) -> None:
        if link.closed:
            return
        self._links.pop(link.socket.fileno(), None)
        self._epoll.unregister(link.socket.fileno())
        for remote in list(link.endpoints.values()):
            self.matchmaker.remote_removed(link, remote, at_once=at_once, died=not link.said_bye)
        link.endpoints.clear()
        link.nodes.clear()
        link.close()
        if not link.said_bye and link.name is not None:
            self._rendezvous.remove_if_dead(link.name)

    def _fault_match(self, native: ReaderMatch | WriterMatch, reason: str) -> None:
        found = self.matchmaker.link_of(native)
        if found is not None:
            self._fault(found[1], reason, found[0].info)

    def _fault(self, link: Link, reason: str, local: EndpointInfo | None) -> None:
        if link.closed:
            return
        event = events.PeerFaulted(link.pid, reason, local)
        self._end_link(link, at_once=True)
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

        self.call_later(_REPORT_LOSSES_EVERY_S, again)

    def _add_node(self, node: NodeInfo, notify: Callable[[Event], None]) -> None:
        self._nodes[node.full_name] = (node, notify)
        self._announce({"op": "node", "node": _bare(node)})

    def _remove_node(self, full_name: str) -> None:
        self._nodes.pop(full_name, None)
        self._announce({"op": "node_gone", "name": full_name})

    def _announce(self, operation: Operation, kind: str | None = None) -> None:
        for link in self._links.values():
            if link.introduced and (kind is None or kind in link.announces):
                link.send_operations([operation])

    def _add_endpoint(self, local: LocalPublisher | LocalSubscription) -> None:
        self._announce({"op": "endpoint", "endpoint": local.info.to_dict()}, local.info.kind)
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

    def _missing(self) -> list[str]:
        synced = {link.name for link in self._links.values() if link.synced}
        return [name for name in self._rendezvous.others() if name not in synced]

    def _describe(self, missing: list[str]) -> tuple[list[NodeInfo], list[str]]:
        own = [local.info for local in self.matchmaker.endpoints]
        nodes = [_with_endpoints(node, own) for node, _ in self._nodes.values()]
        for link in self._links.values():
            if link.name != self._rendezvous.name:
                nodes += [_with_endpoints(node, list(link.endpoints.values())) for node in link.nodes.values()]
        unreachable = [f"the process behind {self._rendezvous.directory / name} does not answer" for name in missing]
        return sorted(nodes, key=lambda node: (node.full_name, node.pid)), unreachable

    def _leave(self) -> None:
        for link in list(self._links.values()):
            link.flush()
            link.send_operations([{"op": "bye"}])
            link.close()
        self._links.clear()
        self._rendezvous.close()
        self._epoll.close()
        wake, self._wake = self._wake, -1
        os.close(wake)


def _bare(node: NodeInfo) -> dict[str, object]:
    return {**node.to_dict(), "endpoints": []}


def _with_endpoints(node: NodeInfo, endpoints: list[EndpointInfo]) -> NodeInfo:
    own = tuple(endpoint for endpoint in endpoints if endpoint.node_name == node.full_name)
    return NodeInfo(node.name, node.namespace, node.pid, node.uid, own)

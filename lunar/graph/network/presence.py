"""Presence: all that a process is and has beyond its host; there if its range is the network."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lunar._version import __version__
from lunar.abc import Site
from lunar.errors import TransportUnavailable
from lunar.graph.network.board import Board
from lunar.graph.network.engines import EngineHost
from lunar.graph.network.loopback import Loopback
from lunar.graph.network.network import Network
from lunar.graph.network.questions import ask_types
from lunar.graph.network.reach import LONGEST_HOLD_S
from lunar.graph.network.remote import FORMAT
from lunar.graph.network.signs import Signs
from lunar.graph.transports import TransportInfo, as_announced
from lunar.selection import asks_for_bypass

if TYPE_CHECKING:
    from lunar.abc import Capabilities, Discovery, Engine, NetworkTransport, Transport
    from lunar.config import Config
    from lunar.graph.control import ControlThread
    from lunar.graph.descriptions import EndpointInfo, NodeInfo
    from lunar.graph.endpoints import LocalPublisher, LocalSubscription
    from lunar.graph.matchmaker import Matchmaker
    from lunar.graph.network.remote import RemoteProcess
    from lunar.graph.routes import Route
    from lunar.graph.schemas import OwnSchemas, SchemaTexts
    from lunar.graph.waiting import Bells
    from lunar.qos import QoS

_log = logging.getLogger("lunar")

# Over an idle network the first news come within 50 ms, all of one process together.
_FIRST_NEWS_S: Final = 0.25
_QUIET_S: Final = 0.05

_NOT_ASKED_FOR: Final = 'no endpoint here asks for the fast datapath: QoS(datapath="fast")'

__all__ = ["Presence", "Surroundings", "host_key"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a participant takes part in a network with.

    Attributes:
        addresses: See `lunar.abc.Site`.
        interfaces: Likewise.
        discovery: Opens the board.
        transports: Those to be used, the preferred ones first, with the settings of each.
        missing: Why others cannot be used, by name.
    """

    addresses: tuple[str, ...]
    interfaces: tuple[str, ...]
    discovery: Callable[[Site], Discovery]
    transports: tuple[tuple[NetworkTransport, dict[str, object]], ...]
    missing: Mapping[str, str] = field(default_factory=dict)


def host_key(config: Config) -> str:
    """What processes that can meet without a network have in common: the running kernel and the runtime directory."""
    directory = os.stat(config.runtime_dir)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return hashlib.sha256(f"{boot_id} {directory.st_dev} {directory.st_ino}".encode()).hexdigest()[:32]


class Presence:
    """A process's board, engines and streams. Made and closed by any thread, used by the control thread.

    Args:
        config: Of the participant.
        participant_id: Its id.
        surroundings: What it takes part with.
        transport: The transport within this host.
        bells: This process's bells.
        control: The control thread.
        matchmaker: Hears of remote endpoints, and asks for matches with them.
        schemas: What is told of this process's types.
        faulted: Called with the name of a process that broke the rules, and the reason.
        announced: Called when others can be used than before, with what is announced now.
        announce_routes: See `Network`.

    Attributes:
        missing: Why transports cannot be used, by name.
        transports: What is announced of both.
        signs: Takes the signs of life of this process's publishers.

    Raises:
        TransportUnavailable: Discovery cannot run here.
        ResourceExhausted: A limit was reached; nothing was left open.
    """

    def __init__(
        self,
        config: Config,
        participant_id: str,
        surroundings: Surroundings,
        transport: Transport,
        bells: Bells,
        control: ControlThread,
        matchmaker: Matchmaker,
        schemas: OwnSchemas,
        faulted: Callable[[str, str], object],
        announced: Callable[[tuple[TransportInfo, ...]], object],
        announce_routes: Callable[[tuple[Route, ...]], object],
    ) -> None:
        self._control, self._matchmaker, self._schemas = control, matchmaker, schemas
        self._config, self._id, self._surroundings, self._bells = config, participant_id, surroundings, bells
        self._within_host, self._announced = transport, announced
        self._hold_s: dict[str, float] = {}
        self._began_s = self._heard_s = time.monotonic()
        self._closed = False
        self.missing = dict(surroundings.missing)
        self._deferred: list[NetworkTransport] = []
        with ExitStack() as undo:
            hosts = []
            for each, settings in surroundings.transports:
                try:
                    can = each.capabilities_under(settings)
                    if can.kernel_bypass:
                        self._deferred.append(each)
                        self.missing[each.name] = _NOT_ASKED_FOR
                        continue
                    engine = each.open(_site(config, participant_id, surroundings, settings))
                except TransportUnavailable as error:
                    self.missing[each.name] = str(error)
                    # The doctor and explain tell of it: no warning for every process that does not need it.
                    _log.info("the transport %s is not used: %s", each.name, error)
                    continue
                host = self._host(each, engine, can)
                undo.callback(host.discard)
                hosts.append(host)
            discovery = surroundings.discovery(_site(config, participant_id, surroundings, {}))
            undo.callback(discovery.close)
            loopback = Loopback(transport, bells)
            self._discovery = discovery
            self.transports = self._transports_now(hosts)
            self.network = Network(
                hosts,
                self.transports,
                control,
                matchmaker,
                loopback,
                transport,
                config.pool_bytes,
                faulted,
                self._refuse,
                self._tell_unreachable,
                announce_routes,
                self._open_soon_if_asked_for,
            )
            record = {
                "id": participant_id,
                "host": socket.gethostname() or "?",
                "host_key": host_key(config),
                "pid": os.getpid(),
                "uid": os.geteuid(),
                "version": __version__,
                "format": FORMAT,
                **self._told_of_transports(),
            }
            self.board = Board(
                discovery,
                record,
                matchmaker,
                schemas,
                control.call_later,
                self.network.forget,
                faulted,
                self.network.refusals.heard,
                self.network.reach.heard,
            )
            self.signs = Signs(control, self.board)
            undo.pop_all()

    def begin(self) -> None:
        """Takes part from now on."""
        self._matchmaker.network, self._matchmaker.requests = self.network, self.board.wants
        self._heard_s = self._began_s = time.monotonic()
        self.network.start()
        self.board.introduce()
        self._control.watch(self.board.fileno(), self._read_board)
        self._read_board()

    def _read_board(self, _mask: int = 0) -> None:
        self._heard_s = time.monotonic()
        self.board.serve()

    def _refuse(self, own_id: str, their_id: str, reason: str) -> None:
        if reason:
            self.board.post_refusal(own_id, their_id, reason)
        else:
            self.board.withdraw_refusal(own_id, their_id)

    def _tell_unreachable(self, process_id: str, transport: str, reason: str, since_s: float) -> None:
        self.board.post_unreachable(process_id, transport, reason, since_s)

    # ---- transports that fail ---------------------------------------------------------------------------------------

    def _host(self, transport: NetworkTransport, engine: Engine, can: Capabilities) -> EngineHost:
        try:
            made = EngineHost(transport.name, can, engine, self._control, self._bells)
        except BaseException:
            engine.close()
            raise
        made.failed = partial(self._failed, transport)
        return made

    def _transports_now(self, hosts: Iterable[EngineHost]) -> tuple[TransportInfo, ...]:
        return as_announced(_own_transports(self._within_host, hosts, self.missing))

    def _told_of_transports(self) -> dict[str, object]:
        return {
            "transports": [each.to_dict() for each in self.transports],
            "addresses": {name: dict(host.engine.address) for name, host in self.network.hosts.items()},
        }

    def _failed(self, transport: NetworkTransport, host: EngineHost, reason: str) -> None:
        if self._closed:
            return
        self.missing[transport.name] = f"it has failed: {reason}"
        self.network.give_up(host)
        self._announce()
        hold_s = self._hold_s.get(transport.name, self.network.reach.hold_s)
        self._hold_s[transport.name] = min(2 * hold_s, LONGEST_HOLD_S)
        self._control.call_later(hold_s, partial(self._open_again, transport))

    def _open_soon_if_asked_for(self, *profiles: QoS) -> None:
        """As `_open_if_asked_for`, from within a choice: what is opened has all streams choose anew."""
        if self._deferred:
            self._control.post(self._open_if_asked_for, *profiles)

    def _open_if_asked_for(self, *profiles: QoS) -> None:
        """Opens what goes past the kernel's stack once some endpoint asks for that."""
        for each in [each for each in self._deferred if any(asks_for_bypass(qos, each.name) for qos in profiles)]:
            self._deferred.remove(each)
            self._hold_s[each.name] = self.network.reach.hold_s
            self._open_again(each)

    def _open_again(self, transport: NetworkTransport) -> None:
        if self._closed:
            return
        settings = next(each[1] for each in self._surroundings.transports if each[0] is transport)
        try:
            can = transport.capabilities_under(settings)
            engine = transport.open(_site(self._config, self._id, self._surroundings, settings))
        except TransportUnavailable as error:
            self.missing[transport.name] = str(error)
            self._announce()
            return
        except Exception as error:  # noqa: BLE001 - it has failed before, in whatever way
            _log.info("the transport %s is still not used: %s", transport.name, error)
            self._control.call_later(self._hold_s[transport.name], partial(self._open_again, transport))
            return
        del self.missing[transport.name]
        self.network.use(self._host(transport, engine, can))
        self._announce()

    def _announce(self) -> None:
        """Tells what can be used now, and has all streams choose anew."""
        self.transports = self.network.transports = self._transports_now(self.network.hosts.values())
        self.board.introduce_again(self._told_of_transports())
        self._announced(self.transports)
        for process in self.processes:
            self.network.moves.reconsider(process)

    @property
    def is_settled(self) -> bool:
        """Whether what other hosts have posted so far will have arrived: nobody says how much that is."""
        now_s = time.monotonic()
        return now_s - self._began_s > _FIRST_NEWS_S and now_s - self._heard_s > _QUIET_S

    @property
    def processes(self) -> list[RemoteProcess]:
        """Those of other hosts."""
        return list(self.board.processes.values())

    def ask_types(
        self, here: Iterable[EndpointInfo], known: Sequence[SchemaTexts], topics: Collection[str] | None
    ) -> set[str]:
        """See `lunar.graph.network.questions.ask_types`."""
        return ask_types(self.board.wants, self.processes, here, known, topics)

    def add_node(self, node: NodeInfo) -> None:
        """Tells the others of a node."""
        self.board.post_node(node)

    def remove_node(self, full_name: str) -> None:
        """Tells the others that a node is gone."""
        self.board.withdraw_node(full_name)

    def add_endpoint(self, local: LocalPublisher | LocalSubscription) -> None:
        """Tells the others of an endpoint."""
        self._schemas.add(local.described, local.info.type_hash)  # before anybody asks for it
        self._open_if_asked_for(local.info.qos)
        self.board.post_endpoint(local.info)

    def remove_endpoint(self, endpoint_id: str) -> None:
        """Tells the others that an endpoint is gone, once they have what it published."""
        self.network.draining.drain(endpoint_id, partial(self._withdraw, endpoint_id))

    def _withdraw(self, endpoint_id: str) -> None:
        self.signs.forget(endpoint_id)
        if not self._closed:
            self.board.withdraw_endpoint(endpoint_id)

    def close(self) -> None:
        """Leaves, after the others have what was published."""
        self._closed = True
        self.network.draining.drain_all()
        self._matchmaker.network = self._matchmaker.requests = None
        self._control.unwatch(self.board.fileno())
        self.board.close()
        self.network.close()

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors."""
        self._matchmaker.network = self._matchmaker.requests = None
        self._discovery.close_after_fork()
        self.network.close_after_fork()


def _own_transports(
    within_host: Transport, hosts: Iterable[EngineHost], missing: Mapping[str, str]
) -> Iterator[TransportInfo]:
    yield TransportInfo(within_host.name, within_host.capabilities)
    for host in hosts:
        yield TransportInfo(host.name, host.capabilities, remark=host.engine.remark)
    for name, reason in missing.items():
        yield TransportInfo(name, None, reason or "it says no reason")


def _site(config: Config, participant_id: str, surroundings: Surroundings, settings: dict[str, object]) -> Site:
    return Site(participant_id, config.domain, surroundings.addresses, surroundings.interfaces, settings)

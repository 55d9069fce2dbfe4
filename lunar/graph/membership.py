"""Which participant a node joins: one a process and domain, made with the first node and closed with the last."""

from __future__ import annotations

import atexit
import importlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from lunar.config import Config
from lunar.errors import LunarError
from lunar.graph.descriptions import GraphSnapshot
from lunar.graph.participant import Participant
from lunar.graph.waiting import after_fork_in_child, after_fork_in_parent, before_fork

if TYPE_CHECKING:
    from collections.abc import Collection

    from lunar.abc import Transport
    from lunar.graph.network.presence import Surroundings

__all__ = ["graph_snapshot", "join", "leave"]

_lock = threading.Lock()
_participants: dict[tuple[int, str, str], tuple[Participant, int]] = {}
_leaving: list[Participant] = []
_transport: Transport | None = None


def _host_transport() -> Transport:
    # By name and not by entry point: reading every installed distribution's metadata would cost more than
    # everything else a node does at its start.
    global _transport
    if _transport is None:
        _transport = importlib.import_module("lunar_shm").Transport()
    return _transport


def surroundings_of(config: Config) -> Surroundings | None:
    """What a participant takes part in a network with; None if it stays on its host."""
    if config.range == "host":
        return None
    from lunar.graph.network import surroundings  # most processes stay on their host

    return surroundings.surroundings_of(config)


def join(config: Config) -> Participant:
    """Returns this process's participant for a domain, runtime directory and range; `leave` once for each call.

    Raises:
        ConfigError: The runtime directory cannot be used.
        ResourceExhausted: A limit was reached.
    """
    key = (config.domain, str(config.runtime_dir), config.range)
    with _lock:
        participant, users = _participants.get(key, (None, 0))
        if participant is None:
            participant = Participant(config, _host_transport(), surroundings_of(config))
        _participants[key] = (participant, users + 1)
        return participant


def leave(participant: Participant) -> None:
    """Closes the participant with its last user. Returns when its socket and descriptors are gone."""
    key = (participant.config.domain, str(participant.config.runtime_dir), participant.config.range)
    with _lock:
        known, users = _participants.get(key, (None, 0))
        if known is not participant:
            return
        if users > 1:
            _participants[key] = (participant, users - 1)
            return
        del _participants[key]
        _leaving.append(participant)
    try:
        participant.close()
    finally:
        with _lock:
            _leaving.remove(participant)


def graph_snapshot(
    timeout_s: float = 1.0, domain: int | None = None, types_of: Collection[str] | None = ()
) -> GraphSnapshot:
    """Tells who is on this host: nodes and their endpoints in one domain.

    Blocks; it joins as a nameless participant, waits until everybody who is there has answered, and leaves. If the
    range is the network, it waits about a quarter of a second for those on other hosts, and tells of whom it has heard.

    Args:
        timeout_s: After so long, whoever has not answered is listed as unreachable.
        domain: The domain; None stands for `LUNAR_DOMAIN`.
        types_of: Names of topics; None: all. Of the types of these, and of topics with several versions of one, other
            hosts are asked for the schemas, which takes a little longer. Those of this host are there anyway.

    Raises:
        ConfigError: A setting, or the runtime directory, cannot be used.
    """
    config = Config.from_environment()
    if domain is not None:
        config = replace(config, domain=domain)
    participant = join(config)
    try:
        return participant.snapshot(timeout_s, types_of)
    finally:
        leave(participant)


def require_same_process(pid: int) -> None:
    """Refuses what was made before a fork.

    Raises:
        LunarError: This process is a child of the one that made it.
    """
    if pid != os.getpid():
        raise LunarError("this node was made before a fork; make nodes in the process that uses them")


def _all() -> list[Participant]:
    return [participant for participant, _ in _participants.values()] + _leaving


# Forking anyway is better than not at all, should a control thread hang in somebody's log handler.
_PAUSE_AT_MOST_S = 1.0
_held: list[threading.Lock] = []
_paused: list[Participant] = []


def _before_fork() -> None:
    if _lock.acquire(timeout=_PAUSE_AT_MOST_S):
        _held.append(_lock)
    _paused.extend(participant for participant in _all() if participant.pause(_PAUSE_AT_MOST_S))
    before_fork(_PAUSE_AT_MOST_S)


def _after_fork_in_parent() -> None:
    after_fork_in_parent()
    while _paused:
        _paused.pop().resume()
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _held.clear()
    _paused.clear()
    for participant in _all():
        participant.close_after_fork()
    _participants.clear()
    _leaving.clear()
    after_fork_in_child()


def _close_all() -> None:
    for participant, _ in list(_participants.values()):
        participant.close()


def _at_threads_end() -> None:
    here = (threading.main_thread(), threading.current_thread())
    if all(thread.daemon or thread in here for thread in threading.enumerate()):
        _close_all()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
# The end of a program. Threads that are no daemons may outlive the main one and go on using their nodes: then it is the
# end of the interpreter. A child of multiprocessing never comes to that, it only waits for its threads.
threading._register_atexit(_at_threads_end)  # type: ignore[attr-defined]
atexit.register(_close_all)

"""Runs one measured library: the two sides of a run, each role in a process of its own on its own core."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from lunar.config import Config
from lunar_perf.backend import with_backend
from lunar_perf.children import START_UP_S, Child, local_ends, run_ends
from lunar_perf.host_facts import HostFacts, Place
from lunar_perf.network_settings import network_environment
from lunar_perf.outcome import Outcome
from lunar_perf.pinning import place
from lunar_perf.remote import remote_run
from lunar_perf.side import HERE, Server, Side
from lunar_perf.work import Role, Work


@dataclass(frozen=True, slots=True)
class Run:
    """What a run gave.

    Attributes:
        first: of the side that pings or sends.
        others: of the pong or the receivers.
        cores: where they ran, in that order.
        note: what a reader of the figures has to know about the placement, or empty.
        places: the host of either side.
    """

    first: Outcome
    others: tuple[Outcome, ...]
    cores: tuple[int, ...]
    note: str
    places: tuple[Place, Place]


def run_pair(peer: str, roles: tuple[Role, Role], work: Work, sides: tuple[Side, Side] = (HERE, HERE)) -> Run:
    """Run both sides at once, and wait for all their processes.

    Args:
        peer: name of the measured library.
        roles: of the one process of the first side, and of all ``work.subscribers`` of the second.
        work: what they do, the same for all.
        sides: where they run.

    Raises:
        RunFailed: a process failed or the time is over; all others are ended first. Or no server answers.
        ConfigError: with a server or a backend: a setting cannot be used.
    """
    server = sides[1].server
    if server is not None:
        return asyncio.run(_run_with(server, peer, roles, work))
    return asyncio.run(_run_here(peer, roles, work, sides))


async def _run_here(peer: str, roles: tuple[Role, Role], work: Work, sides: tuple[Side, Side]) -> Run:
    placement = place(work.subscribers)
    with ExitStack() as settings:
        near, far = (settings.enter_context(with_backend(work, side.environment)) for side in sides)
        first = measured_child(peer, roles[0], placement.first, work, near)
        others = [measured_child(peer, roles[1], core, work, far) for core in placement.others]
        with local_ends([first, *others], work.allowed_s + START_UP_S) as ends:
            reports = await run_ends(ends)
    outcomes = [Outcome.from_json(report) for report in reports]
    here = HostFacts.here()
    places = (Place(roles[0], here, sides[0].address), Place(roles[1], here, sides[1].address))
    return Run(outcomes[0], tuple(outcomes[1:]), (placement.first, *placement.others), placement.note, places)


async def _run_with(server: Server, peer: str, roles: tuple[Role, Role], work: Work) -> Run:
    config = Config.from_environment()
    core = place(0).first
    async with remote_run(server, roles[1], work) as remote:
        settings = network_environment(config, remote.welcome.domain, remote.addresses[1])
        with (
            with_backend(work, settings) as environment,
            local_ends([measured_child(peer, roles[0], core, work, environment)], work.allowed_s + START_UP_S) as ends,
        ):
            reports = await run_ends([*ends, *remote.ends])
    outcomes = [Outcome.from_json(report) for report in reports]
    own, other = remote.addresses
    places = (Place(roles[0], HostFacts.here(), own), Place(roles[1], remote.welcome.host, other))
    return Run(outcomes[0], tuple(outcomes[1:]), (core, *remote.started.cores), remote.started.note, places)


def measured_child(peer: str, role: Role, core: int, work: Work, environment: Mapping[str, str]) -> Child:
    """The process that does one role of a run."""
    return Child(
        name=f"{peer} {role}",
        module="lunar_perf.peer_process",
        arguments=(peer, role, str(core), work.to_json()),
        ends_run=role in ("ping", "receive"),
        environment=environment,
    )

"""The conformance suite over every transport between hosts."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from lunar_dds import Transport as Dds
from lunar_xdp import Transport as Xdp
from lunar_zmq import Transport as Zmq

import lunar
from lunar import abc, testing
from lunar.config import Config
from lunar.graph import membership
from lunar.graph.network.presence import Surroundings
from lunar.testing import conformance


class Unasked(Xdp):
    """Serves profiles that do not ask for it, like those of the checks."""

    def capabilities_under(self, settings: Mapping[str, object]) -> abc.Capabilities:
        return replace(super().capabilities_under(settings), kernel_bypass=False)


EXAMPLE = Path(__file__).parents[2] / "examples" / "transport"
# One that another test run on this machine hardly has.
DOMAIN = 20 + os.getpid() % 200
SUBJECTS: Mapping[str, conformance.Subject] = {
    "memory": conformance.Subject(testing.MemoryTransport),
    "zmq": conformance.Subject(Zmq, {"curve": False}),
    "dds": conformance.Subject(Dds, domain=DOMAIN),
    "xdp": conformance.Subject(Unasked, {"backend": "udp"}),
}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=str)
@pytest.mark.parametrize("name", SUBJECTS)
def test_engines_keep_the_contract(check: conformance.Check, name: str) -> None:
    check(SUBJECTS[name])


@pytest.mark.parametrize("name", SUBJECTS)
def test_64_mib_arrive(name: str) -> None:
    [check] = [check for check in conformance.CHECKS if check.name == "messages_of_all_sizes_arrive[reliable]"]
    check(replace(SUBJECTS[name], largest_bytes=64 << 20))


def test_the_example_of_a_transport_passes_its_own_tests() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_toy_udp.py"]
    run = subprocess.run(command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stdout
    assert f"{len(conformance.BEST_EFFORT_CHECKS)} passed" in run.stdout


class HostsOfThisProcess:
    """Participants of this process with a runtime directory each, so that they meet as if over a network."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.monkeypatch = directory, monkeypatch
        self.nodes: list[lunar.Node] = []

    def node(self, host: str) -> lunar.Node:
        directory = self.directory / host
        directory.mkdir(mode=0o700, exist_ok=True)
        self.monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(directory))
        self.nodes.append(lunar.Node(f"node_{len(self.nodes)}"))
        return self.nodes[-1]


@pytest.fixture
def bus(name: str, runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostsOfThisProcess]:
    subject = SUBJECTS[name]
    transports = ((subject.transport(), dict(subject.settings)),)

    def surroundings_of(_config: Config) -> Surroundings:
        return Surroundings(subject.addresses, subject.interfaces, testing.MemoryDiscovery, transports)

    monkeypatch.setattr(membership, "surroundings_of", surroundings_of)
    monkeypatch.setenv("LUNAR_DOMAIN", str(subject.domain))
    hosts = HostsOfThisProcess(runtime_dir, monkeypatch)
    yield hosts
    for node in hosts.nodes:
        node.close()


@pytest.mark.parametrize("check", conformance.BUS_CHECKS, ids=str)
@pytest.mark.parametrize("name", SUBJECTS)
async def test_nodes_on_two_hosts_get_what_profiles_promise(
    check: conformance.BusCheck, bus: HostsOfThisProcess
) -> None:
    await check(bus)

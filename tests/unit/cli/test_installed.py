import importlib.metadata
from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from lunar.abc import Capabilities, Probe
from lunar.cli.installed import installed_transports, transport_entries
from lunar.graph.transports import TransportInfo

Install = Callable[..., None]


class Good:
    capabilities = Capabilities("network", reliable=True)

    def probe(self) -> Probe:
        return Probe(True)


class Unusable(Good):
    def probe(self) -> Probe:
        return Probe(False, "no cable\x1b[2J", "plug it in")


class Lying(Good):
    capabilities = Capabilities("network", largest_message_bytes=-1)


class Unfinished:
    pass


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(name=class_name)``: transports between hosts, of this module."""

    def install(**transports: str) -> None:
        found = [
            EntryPoint(name, f"{__name__}:{value}", "lunar.network_transports") for name, value in transports.items()
        ]
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda group: found if group == "lunar.network_transports" else ()
        )

    return install


def test_those_of_this_distribution_are_there() -> None:
    assert {"shm", "zmq", "dds"} <= {entry.name for entry in transport_entries()}
    shm = installed_transports()[0]
    assert (shm.name, shm.missing, shm.capabilities and shm.capabilities.reach) == ("shm", "", "host")


def test_what_can_and_what_cannot_be_used_is_told(install: Install) -> None:
    install(good="Good", unusable="Unusable")
    good, unusable = installed_transports()
    assert (good.capabilities, good.missing) == (Good.capabilities, "")
    assert (unusable.capabilities, unusable.missing) == (Good.capabilities, "no cable[2J; remedy: plug it in")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Missing", "AttributeError: "),
        ("Unfinished", "AttributeError: 'Unfinished' object has no attribute 'probe'"),
        ("Lying", "bad capabilities"),
    ],
)
def test_one_that_is_broken_is_reported_with_the_reason(install: Install, value: str, reason: str) -> None:
    install(broken=value, good="Good")
    broken, good = installed_transports()
    assert broken.capabilities is None
    assert f"{__name__}:{value} is broken: " in broken.missing
    assert reason in broken.missing
    assert good.missing == ""


def test_what_they_can_do_goes_by_the_settings() -> None:
    def zmq(**settings: object) -> TransportInfo:
        [found] = [info for info in installed_transports({"zmq": settings}) if info.name == "zmq"]
        return found

    assert zmq().capabilities == zmq(curve=True).capabilities
    off, wrong = zmq(curve=False), zmq(curl=False)
    assert off.capabilities is not None
    assert not off.capabilities.encrypted
    assert wrong.capabilities is None
    assert "zmq.curl" in wrong.missing

"""The list of peers, and what happens where one is not installed."""

import importlib.util
import inspect

import pytest
from lunar_perf.peer import PEERS, Peer, load

_METHODS = [name for name, _ in inspect.getmembers(Peer, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_has_its_module(name: str) -> None:
    entry = PEERS[name]
    assert entry.name == name
    assert importlib.util.find_spec(entry.module) is not None


@pytest.mark.parametrize("name", PEERS)
def test_every_installed_peer_keeps_the_contract(name: str) -> None:
    missing = PEERS[name].missing()
    if missing is not None:
        pytest.skip(f"{missing}: pip install lunar-mom[compare]")
    if name == "cyclonedds":
        pytest.skip("importing it sets CYCLONEDDS_URI for the whole process")
    peer = load(name)
    for method in _METHODS:
        expected = list(inspect.signature(getattr(Peer, method)).parameters)[1:]
        assert list(inspect.signature(getattr(peer, method)).parameters) == expected


def test_a_missing_library_is_named() -> None:
    from dataclasses import replace

    entry = replace(PEERS["pyzmq"], requires=("json", "no_such_library"))
    assert entry.missing() == "no_such_library not installed"
    assert PEERS["lunar"].missing() is None

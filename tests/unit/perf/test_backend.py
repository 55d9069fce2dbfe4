"""A run's own backend of the transport `xdp`: it changes that one setting, and none of the others."""

import os
from pathlib import Path

import pytest
from lunar_perf.backend import as_toml, with_backend
from lunar_perf.work import Work

from lunar.config import Config
from lunar.config_file import load

SETTINGS = """
domain = 7
peers = ["192.0.2.7"]
[transport.zmq]
curve = false
[transport.xdp]
backend = "af_xdp"
window = 256
queues = [0, 2]
"""


def test_one_setting_changes_and_the_file_goes(tmp_path: Path) -> None:
    own = tmp_path / "lunar.toml"
    own.write_text(SETTINGS)
    before = {"LUNAR_CONFIG": str(own), "LUNAR_RANGE": "network"}
    with with_backend(Work(64, transport="xdp", backend="udp"), before) as environment:
        assert environment["LUNAR_RANGE"] == "network"
        changed = Config.from_environment(environment)
        written = Path(environment["LUNAR_CONFIG"])
        assert written != own
    assert (changed.domain, changed.peers) == (7, ("192.0.2.7",))
    expected = {"zmq": {"curve": False}, "xdp": {"backend": "udp", "window": 256, "queues": [0, 2]}}
    assert changed.transport_settings == expected
    assert not written.exists()
    assert own.read_text() == SETTINGS


def test_without_a_backend_nothing_changes() -> None:
    before = {"LUNAR_RANGE": "network"}
    with with_backend(Work(64, transport="xdp"), before) as environment:
        assert environment == before


def test_without_settings_there_is_but_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_CONFIG", os.devnull)
    with with_backend(Work(64, transport="xdp", backend="auto"), {}) as environment:
        assert load(environment).values == {"transport": {"xdp": {"backend": "auto"}}}


def test_any_text_and_number_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    odd = {"text": 'a "b" \\ \n\t\x01\x7f \u00e9 \U0001f600', "a b": -1, "half": 0.5, "in": {"the": [True, {"x": 1}]}}
    path.write_text(as_toml({"transport": {"other": odd}}), encoding="utf-8")
    assert load({"LUNAR_CONFIG": str(path)}).values == {"transport": {"other": odd}}

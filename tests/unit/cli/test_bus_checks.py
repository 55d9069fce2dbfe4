import os
import socket
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType

import pytest

import lunar
from lunar.abc import Capabilities, Probe
from lunar.cli import bus_checks
from lunar.cli.diagnosis import Check
from lunar.config import Config
from lunar.errors import PeerFault
from lunar.graph.descriptions import NodeInfo

SetGraph = Callable[..., object]


def by_name(checks: Iterable[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_settings_have_their_source() -> None:
    checks = by_name(bus_checks.check_settings({"LUNAR_DOMAIN": "7", "LUNAR_RUNTIME_DIR": "/run/lunar"}))
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["LUNAR_DOMAIN"].text == "7 (environment)"
    assert checks["LUNAR_RUNTIME_DIR"].text == "/run/lunar (environment)"
    assert checks["LUNAR_POOL_BYTES"].text == "1 GiB (default)"


def test_every_setting_that_is_not_valid_fails_with_what_is_allowed() -> None:
    checks = by_name(bus_checks.check_settings({"LUNAR_DOMAIN": "999", "LUNAR_POOL_BYTES": "lots"}))
    assert checks["LUNAR_DOMAIN"].status == checks["LUNAR_POOL_BYTES"].status == "failed"
    assert "0 to 232" in checks["LUNAR_DOMAIN"].remedy
    assert checks["LUNAR_GROUP"].status == "ok"


def test_a_misspelt_setting_is_a_warning() -> None:
    checks = by_name(bus_checks.check_settings({"LUNAR_DOMIAN": "1", "LUNAR_QQQ": "1", "LUNAR_WERROR": "1"}))
    assert checks["LUNAR_DOMIAN"].status == "warning"
    assert checks["LUNAR_DOMIAN"].remedy == "did you mean LUNAR_DOMAIN?"
    assert checks["LUNAR_QQQ"].remedy == "unset it"
    assert "LUNAR_WERROR" not in checks


def config(runtime_dir: Path, group: int | None = None) -> Config:
    return Config(domain=0, runtime_dir=runtime_dir, group=group, pool_bytes=2**30)


def runtime_checks(runtime_dir: Path, group: int | None = None) -> dict[str, Check]:
    return by_name(bus_checks.check_runtime_dir(config(runtime_dir, group)))


def test_a_runtime_directory_that_can_be_made_is_fine(tmp_path: Path) -> None:
    (check,) = runtime_checks(tmp_path / "a" / "b").values()
    assert check.status == "ok"
    assert "does not exist yet" in check.text


def test_a_runtime_directory_that_cannot_be_made_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    (check,) = runtime_checks(tmp_path / "lunar").values()
    assert check.status == "failed"


def test_a_file_in_its_place_fails(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert runtime_checks(path)["runtime directory"].status == "failed"
    assert runtime_checks(path / "below")["runtime directory"].status == "failed"


@pytest.mark.parametrize(
    ("mode", "shared", "status"),
    [
        (0o700, False, "ok"),
        (0o750, False, "warning"),
        (0o755, False, "warning"),
        (0o770, False, "failed"),
        (0o702, False, "failed"),
        (0o770, True, "ok"),
        (0o775, True, "warning"),
        (0o777, True, "failed"),
    ],
)
def test_who_may_enter_the_runtime_directory(runtime_dir: Path, mode: int, shared: bool, status: str) -> None:
    runtime_dir.chmod(mode)
    check = runtime_checks(runtime_dir, runtime_dir.stat().st_gid if shared else None)["runtime directory"]
    assert check.status == status
    assert f"mode {mode:04o}" in check.text
    assert bool(check.remedy) == (status != "ok")


def test_the_runtime_directory_of_somebody_else_fails(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_group = runtime_checks(runtime_dir, runtime_dir.stat().st_gid + 1)["runtime directory"]
    assert (other_group.status, "is not of the group" in other_group.text) == ("failed", True)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    other_user = runtime_checks(runtime_dir)["runtime directory"]
    assert (other_user.status, "another user" in other_user.text) == ("failed", True)


def test_sockets_that_nobody_listens_on_are_found(runtime_dir: Path) -> None:
    domain = runtime_dir / "0"
    domain.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as alive:
        alive.bind(str(domain / "alive"))
        alive.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
            dead.bind(str(domain / "dead"))
        check = runtime_checks(runtime_dir)["socket files"]
    assert check.status == "warning"
    assert "1 process present" in check.text
    assert "1 left behind" in check.text


def test_nobody_there_is_fine(runtime_dir: Path) -> None:
    assert runtime_checks(runtime_dir)["socket files"].text == "0 processes present, none left behind"


class Fine:
    """What the doctor asks of a transport."""

    name = "fine"
    capabilities = Capabilities("network", reliable=True, multicast=True)

    def probe(self) -> Probe:
        return Probe(True)


class Missing(Fine):
    def probe(self) -> Probe:
        return Probe(False, "no driver", "load it")


class Broken(Fine):
    def __init__(self) -> None:
        raise TypeError("too old")


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Check]]:
    """``plug_in(name=class)``: what is said of these transports and one that cannot be imported."""

    def plug_in(**transports: type[Fine]) -> dict[str, Check]:
        module = ModuleType("plugged_in")
        module.__dict__.update(transports)
        monkeypatch.setitem(sys.modules, "plugged_in", module)
        entries = EntryPoints(EntryPoint(name, f"plugged_in:{name}", "lunar.transports") for name in transports)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries)
        return by_name(bus_checks.check_transports())

    return plug_in


def test_transports_say_what_they_can_do_or_what_is_missing(plug_in: Callable[..., dict[str, Check]]) -> None:
    checks = plug_in(fine=Fine, missing=Missing, broken=Broken)
    assert checks["transport fine"] == Check("transport fine", "ok", "reach network, reliable, multicast")
    assert checks["transport missing"] == Check("transport missing", "failed", "no driver", "load it")
    assert checks["transport broken"].status == "failed"
    assert "TypeError: too old" in checks["transport broken"].text


def test_no_transport_at_all_fails(plug_in: Callable[..., dict[str, Check]]) -> None:
    assert plug_in()["transports"].status == "failed"


def test_the_native_core_that_cannot_be_imported_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = bus_checks.check_native()
    assert check.status == "ok"
    monkeypatch.setitem(sys.modules, "lunar._native.control", None)
    monkeypatch.delattr("lunar._native.control", raising=False)
    (check,) = bus_checks.check_native()
    assert check.status == "failed"
    assert check.remedy


def test_peers_that_do_not_answer_are_warnings(set_graph: SetGraph) -> None:
    set_graph(NodeInfo("a", "/", 1, 0), NodeInfo("b", "/", 1, 0), unreachable=["pid 2 did not answer"])
    answer, silence = bus_checks.check_peers()
    assert answer.text == "2 nodes in 1 process"
    assert (silence.status, silence.text) == ("warning", "pid 2 did not answer")


def test_a_graph_that_cannot_be_seen_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PeerFault("nonsense")

    monkeypatch.setattr(lunar, "graph_snapshot", refuse, raising=False)
    (check,) = bus_checks.check_peers()
    assert check.status == "failed"


def test_a_setting_of_the_file_is_shown_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lunar.toml"
    path.write_text('domain = 7\nrange = "network"\n')
    checks = by_name(bus_checks.check_settings({"LUNAR_CONFIG": str(path), "LUNAR_RANGE": "host"}))
    assert checks["LUNAR_DOMAIN"].text == f"7 ({path})"
    assert checks["LUNAR_RANGE"].text == "host (environment)"
    assert checks["LUNAR_PEERS"].text == "none (default)"
    assert "LUNAR_CONFIG" not in checks


def test_every_fault_of_the_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "lunar.toml"
    path.write_text('domain = 999\nrange = "lan"\n')
    checks = list(bus_checks.check_settings({"LUNAR_CONFIG": str(path), "LUNAR_PEERS": "a b"}))
    failed = [check.text for check in checks if check.status == "failed"]
    assert [text.partition(" is ")[0] for text in failed] == [
        f"{path}:1: domain = 999",
        f"{path}:2: range = 'lan'",
        "'a b'",
    ]

"""What the doctor says of the network while the range is the host; in range network: tests/integration."""

from pathlib import Path

import pytest

from lunar.cli.diagnosis import Check
from lunar.cli.network_checks import check_network
from lunar.config import Config


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def checks(tmp_path: Path, **settings: object) -> dict[str, Check]:
    config = Config(domain=0, runtime_dir=tmp_path, group=None, pool_bytes=2**30, **settings)  # type: ignore[arg-type]
    return {check.name: check for check in check_network(config)}


def test_in_range_host_it_says_what_would_be_used(tmp_path: Path) -> None:
    found = checks(tmp_path, interfaces=("lo",))
    assert "LUNAR_RANGE=network" in found["network"].text
    assert found["interface lo"].text == "127.0.0.1, no multicast"
    assert "preferred" in found["transport dds"].text
    assert "lunar keys make" in found["transport zmq"].text
    assert "discovery" not in found
    assert {check.status for name, check in found.items() if name != "peers"} == {"ok"}


def test_nobody_is_found_without_multicast_and_peers(tmp_path: Path) -> None:
    assert checks(tmp_path, interfaces=("lo",))["peers"].status == "warning"
    found = checks(tmp_path, interfaces=("lo",), peers=("127.0.0.1", "no.such.host.invalid"))
    assert "peers" not in found
    assert found["peer 127.0.0.1"] == Check("peer 127.0.0.1", "ok", "127.0.0.1")
    assert found["peer no.such.host.invalid"].status == "warning"


def test_an_interface_that_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    found = checks(tmp_path, interfaces=("eth77",))["interfaces"]
    assert found.status == "warning"
    assert "lo 127.0.0.1" in found.text
    assert "eth77 (there is no such interface or address)" in found.remedy


def test_what_goes_past_the_kernel_is_for_who_asks_for_it(tmp_path: Path) -> None:
    found = checks(tmp_path, interfaces=("lo",), range="network")["transport xdp"]
    assert found.status == "ok"
    assert found.text.startswith("for profiles that ask for the fast datapath, reliable, not encrypted")
    assert "over UDP sockets, since no Ethernet interface" in found.text


def test_without_curve_no_keys_are_needed(tmp_path: Path) -> None:
    found = checks(tmp_path, interfaces=("lo",), transport_settings={"zmq": {"curve": False}})["transport zmq"]
    assert (found.status, found.text) == ("ok", "preferred, reliable, not encrypted")


def test_a_wrong_setting_of_a_transport_is_named(tmp_path: Path) -> None:
    found = checks(tmp_path, interfaces=("lo",), transport_settings={"zmq": {"curl": False}})["transport zmq"]
    assert "zmq.curl" in found.text

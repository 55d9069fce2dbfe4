"""How a process of a run between two machines finds the other one."""

import pytest
from lunar_perf.network_settings import network_environment, peer_address

from lunar.config import Config


@pytest.mark.parametrize(
    ("other", "own", "expected"),
    [
        ("192.0.2.7", ["192.0.2.1"], "192.0.2.7"),
        ("::ffff:192.0.2.7", ["192.0.2.1", "198.18.0.1"], "192.0.2.7"),
        ("2001:db8::7", ["2001:db8::1"], "2001:db8::7"),
        ("2001:db8::7", ["192.0.2.1"], ""),
        ("192.0.2.7", ["fe80::1%eth0"], ""),
        ("192.0.2.7", ["192.0.2.1", "fe80::1%eth0"], ""),
        ("fe80::7%eth0", ["fe80::1%eth0"], ""),
        ("127.0.0.1", ["127.0.0.1"], ""),
    ],
)
def test_the_other_host_is_looked_for_where_it_was_reached(other: str, own: list[str], expected: str) -> None:
    assert peer_address(other, own) == expected


def test_the_settings_hold_but_for_the_range_and_the_domain() -> None:
    config = Config.from_environment(
        {"LUNAR_RANGE": "host", "LUNAR_INTERFACES": "lo", "LUNAR_PEERS": "192.0.2.9", "LUNAR_CONFIG": "/dev/null"}
    )
    expected = {"LUNAR_RANGE": "network", "LUNAR_DOMAIN": "5", "LUNAR_PEERS": "192.0.2.9"}
    assert network_environment(config, 5, "127.0.0.1") == expected

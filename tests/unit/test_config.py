import grp
import os
from pathlib import Path

import pytest

from lunar.config import DEFAULT_POOL_BYTES, Config
from lunar.errors import ConfigError

SHARED = {"LUNAR_RUNTIME_DIR": "/run/shared"}


def test_defaults() -> None:
    assert Config.from_environment({}) == Config(
        domain=0, runtime_dir=Path(f"/tmp/lunar-{os.geteuid()}"), group=None, pool_bytes=2**30
    )


def test_reads_this_process_if_not_told_otherwise(monkeypatch: pytest.MonkeyPatch, runtime_dir: Path) -> None:
    monkeypatch.setenv("LUNAR_DOMAIN", "7")
    config = Config.from_environment()
    assert (config.domain, config.runtime_dir) == (7, runtime_dir)


def test_what_is_set_to_nothing_counts_as_not_set() -> None:
    names = ["LUNAR_DOMAIN", "LUNAR_RUNTIME_DIR", "LUNAR_GROUP", "LUNAR_POOL_BYTES", "XDG_RUNTIME_DIR"]
    assert Config.from_environment(dict.fromkeys(names, "")) == Config.from_environment({})


@pytest.mark.parametrize(("text", "domain"), [("0", 0), ("7", 7), ("007", 7), ("232", 232)])
def test_domain(text: str, domain: int) -> None:
    assert Config.from_environment({"LUNAR_DOMAIN": text}).domain == domain


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"LUNAR_RUNTIME_DIR": "/a/b"}, "/a/b"),
        ({"LUNAR_RUNTIME_DIR": "/a/b", "XDG_RUNTIME_DIR": "/run/user/7"}, "/a/b"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/run/user/7/lunar"),
        ({"XDG_RUNTIME_DIR": "relative"}, f"/tmp/lunar-{os.geteuid()}"),
    ],
)
def test_runtime_dir(environ: dict[str, str], path: str) -> None:
    assert Config.from_environment(environ).runtime_dir == Path(path)


def test_touches_nothing(runtime_dir: Path) -> None:
    target = runtime_dir / "not-there"
    Config.from_environment({"LUNAR_RUNTIME_DIR": str(target)})
    assert not target.exists()


@pytest.mark.parametrize(("text", "gid"), [("0", 0), ("1000", 1000), ("4294967294", 4294967294)])
def test_group_by_number(text: str, gid: int) -> None:
    assert Config.from_environment(SHARED | {"LUNAR_GROUP": text}).group == gid


def test_group_by_name() -> None:
    group = grp.getgrgid(os.getegid())
    assert Config.from_environment(SHARED | {"LUNAR_GROUP": group.gr_name}).group == group.gr_gid


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("65536", 65536),
        ("64K", 2**16),
        ("64k", 2**16),
        ("512M", 2**29),
        ("512m", 2**29),
        ("1G", 2**30),
        ("16T", 2**44),
        ("1000000", 1_000_000),
    ],
)
def test_pool_bytes(text: str, size_bytes: int) -> None:
    assert Config.from_environment({"LUNAR_POOL_BYTES": text}).pool_bytes == size_bytes


def test_the_default_pool_is_1_gib() -> None:
    assert DEFAULT_POOL_BYTES == 1_073_741_824


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("LUNAR_DOMAIN", "233", "from 0 to 232"),
        ("LUNAR_DOMAIN", "-1", "from 0 to 232"),
        ("LUNAR_DOMAIN", "+1", "from 0 to 232"),
        ("LUNAR_DOMAIN", "1.0", "from 0 to 232"),
        ("LUNAR_DOMAIN", "1_0", "from 0 to 232"),
        ("LUNAR_DOMAIN", " 1", "from 0 to 232"),
        ("LUNAR_DOMAIN", "1\n", "from 0 to 232"),
        ("LUNAR_DOMAIN", "\u0661", "from 0 to 232"),
        ("LUNAR_DOMAIN", "9" * 5000, "from 0 to 232"),
        ("LUNAR_DOMAIN", "lab", "from 0 to 232"),
        ("LUNAR_RUNTIME_DIR", "relative/path", "an absolute path"),
        ("LUNAR_RUNTIME_DIR", "~/lunar", "an absolute path"),
        ("LUNAR_GROUP", "no such group", "a group of this host"),
        ("LUNAR_GROUP", "4294967295", "from 0 to 4294967294"),
        ("LUNAR_GROUP", "-1", "a group of this host"),
        ("LUNAR_POOL_BYTES", "0", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "65535", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "17T", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "-1G", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "1.5G", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "1GB", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "1 G", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "G", "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "9" * 5000, "from 64K to 16T"),
        ("LUNAR_POOL_BYTES", "lots", "from 64K to 16T"),
    ],
)
def test_refuses_a_value_and_says_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environment(SHARED | {variable: value})
    assert (caught.value.variable, caught.value.value) == (variable, value)
    assert allowed in caught.value.allowed
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "/run/user/7"}, {"LUNAR_RUNTIME_DIR": ""}])
def test_a_group_needs_a_folder_that_its_members_can_reach(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="only together with LUNAR_RUNTIME_DIR"):
        Config.from_environment(environ | {"LUNAR_GROUP": "0"})


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("LUNAR_RANGE", "lan", "host or network"),
        ("LUNAR_RANGE", "Host", "host or network"),
        ("LUNAR_INTERFACES", "eth0,", "names or addresses of interfaces"),
        ("LUNAR_INTERFACES", "eth 0", "names or addresses of interfaces"),
        ("LUNAR_PEERS", "192.0.2.300", "IP addresses or names of hosts"),
        ("LUNAR_PEERS", "192.0.2.1:7400", "IP addresses or names of hosts"),
        ("LUNAR_PEERS", "-robot", "IP addresses or names of hosts"),
    ],
)
def test_refuses_what_no_network_can_be(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_environment({variable: value})
    assert (caught.value.variable, caught.value.value, caught.value.allowed) == (variable, value, allowed)


def test_network_settings() -> None:
    config = Config.from_environment(
        {"LUNAR_RANGE": "network", "LUNAR_INTERFACES": "eth1, fe80::1%eth0,eth1", "LUNAR_PEERS": "h2,2001:db8::1"}
    )
    assert config.range == "network"
    assert config.interfaces == ("eth1", "fe80::1%eth0")  # once each
    assert config.peers == ("h2", "2001:db8::1")


def test_a_config_can_be_a_key() -> None:
    assert len({Config.from_environment({}), Config.from_environment({})}) == 1

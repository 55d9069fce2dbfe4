"""The settings file: which one it is, what it may say, and every fault with its line."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lunar import config_file
from lunar.config import Config
from lunar.errors import ConfigError, ConfigFileError

Write = Callable[..., dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(text)``: the environment that names a file with that text."""

    def write(text: str | bytes) -> dict[str, str]:
        path = tmp_path / "some.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return {"LUNAR_CONFIG": str(path)}

    return write


def faults(variables: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        Config.from_environment(variables)
    assert str(caught.value) == "\n".join(caught.value.faults)
    assert caught.value.path == variables["LUNAR_CONFIG"]
    return [fault.removeprefix(f"{variables['LUNAR_CONFIG']}:") for fault in caught.value.faults]


def test_everything_that_it_may_say(write: Write) -> None:
    config = Config.from_environment(
        write("""
domain = 7
range = "network"
interfaces = ["eth0", "192.0.2.1"]
peers = ["192.0.2.7", "2001:db8::7", "robot.example"]
pool_bytes = "2M"
[transport.zmq]
port = 7400
[transport.dds]
""")
    )
    assert (config.domain, config.range, config.pool_bytes) == (7, "network", 2**21)
    assert config.interfaces == ("eth0", "192.0.2.1")
    assert config.peers == ("192.0.2.7", "2001:db8::7", "robot.example")
    assert config.transport_settings == {"zmq": {"port": 7400}, "dds": {}}


def test_an_empty_file_changes_nothing(write: Write) -> None:
    assert Config.from_environment(write("")) == Config.from_environment({"LUNAR_CONFIG": "/dev/null"})


def test_the_environment_wins(write: Write) -> None:
    file = write('domain = 7\nrange = "network"\ninterfaces = ["eth0"]\npeers = ["192.0.2.7"]\npool_bytes = 65536\n')
    said = {"DOMAIN": "8", "RANGE": "host", "INTERFACES": "eth1, eth2", "PEERS": "h2,192.0.2.8", "POOL_BYTES": "1M"}
    config = Config.from_environment(file | {f"LUNAR_{name}": text for name, text in said.items()})
    assert (config.domain, config.range, config.pool_bytes) == (8, "host", 2**20)
    assert (config.interfaces, config.peers) == (("eth1", "eth2"), ("h2", "192.0.2.8"))
    assert Config.from_environment(file | {"LUNAR_DOMAIN": ""}).domain == 7


def test_every_fault_is_named_with_its_line(write: Write) -> None:
    text = """# settings
domain = 233
pol_bytes = 1

"range" = "lan"
interfaces = [
  "eth0",
  7,
]
peers = ["10.0.0.300", "ok"]
pool_bytes = true
[transport]
range = "in another table"
zmq = 1
"""
    assert faults(write(text)) == [
        "2: domain = 233 is not valid; allowed: a whole number from 0 to 232",
        "3: there is no setting pol_bytes; did you mean pool_bytes?",
        "5: range = 'lan' is not valid; allowed: host or network",
        "6: interfaces = ['eth0', 7] is not valid; allowed: names or addresses of interfaces",
        "10: peers = ['10.0.0.300', 'ok'] is not valid; allowed: IP addresses or names of hosts",
        "11: pool_bytes = True is not valid; allowed: bytes from 64K to 16T; K, M, G and T stand for powers of 1024",
        "12: transport = {'range': 'in another table', 'zmq': 1} is not valid; "
        "allowed: a table for each transport, such as [transport.zmq]",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("domain = true", "1: domain = True is not valid"),
        ("domain = 1.0", "1: domain = 1.0 is not valid"),
        ("domain = '7'", "1: domain = '7' is not valid; allowed: a whole number, without quotes"),
        ("\ninterfaces = 'eth0'", "2: interfaces = 'eth0' is not valid; allowed: a list"),
        ("\npeers = '192.0.2.1'", "2: peers = '192.0.2.1' is not valid; allowed: a list"),
        ("peers = ['']", "1: peers"),
        ("peers = ['a b']", "1: peers"),
        ("interfaces = ['a/b']", "1: interfaces"),
        ("[a]\ndomain = 1\n[zzz.b]\n", "1: there is no setting a; "),
        ("domain = 1\n\n[[qqq]]\n", "3: there is no setting qqq; there are domain, range"),
        ("transport.zmq = 1", "1: transport"),
        ("domain = \n", "1: Invalid value"),
        ("\n\ndomain = 1\ndomain = 2\n", "4: Cannot overwrite a value"),
        ("\npeers = [", "2: "),
        (b"domain = 1\n# \xff", "2: it is not UTF-8"),
    ],
)
def test_a_fault(write: Write, text: str | bytes, fault: str) -> None:
    found = faults(write(text))
    assert found[0].startswith(fault)


@pytest.mark.parametrize("path", ["/no/such/file", "/"])
def test_a_named_file_that_cannot_be_read(path: str) -> None:
    with pytest.raises(ConfigError, match=r"LUNAR_CONFIG=.* a file that can be read \("):
        Config.from_environment({"LUNAR_CONFIG": path})


def test_the_error_survives_pickling(write: Write) -> None:
    with pytest.raises(ConfigFileError) as caught:
        Config.from_environment(write("domain = -1"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.path, copy.faults) == (str(caught.value), caught.value.path, caught.value.faults)


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    inner = tmp_path / "project" / "a" / "b"
    inner.mkdir(parents=True)
    places = [
        (home / ".config/lunar", {"HOME": str(home)}, inner, 1),
        (home / "xdg/lunar", {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg")}, inner, 2),
        (tmp_path / "project", {"HOME": str(home)}, inner, 3),
        (inner, {"HOME": str(home)}, inner, 4),
        (home, {"HOME": str(home), "LUNAR_CONFIG": str(home / "lunar.toml")}, inner, 5),
    ]
    for folder, variables, working, domain in places:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lunar.toml").write_text(f"domain = {domain}\n")
        monkeypatch.chdir(working)
        config_file._find.cache_clear()
        assert Config.from_environment(variables).domain == domain, folder
        assert config_file.load(variables).path == folder / "lunar.toml"


NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file above the working directory."""
    file, inner = tmp_path / "lunar.toml", tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    file.write_text("domain = 6")
    file.chmod(0o644)
    monkeypatch.chdir(inner)
    return file


def assert_refused(file: Path, why: str) -> None:
    with pytest.raises(ConfigFileError) as caught:
        Config.from_environment({})
    assert why in str(caught.value)
    assert str(caught.value).endswith(f"; if it is meant, set LUNAR_CONFIG={file}")
    assert Config.from_environment({"LUNAR_CONFIG": str(file)}).domain == 6


@needs_root
def test_somebody_else_s_file_that_is_only_found_is_refused(found: Path) -> None:
    os.chown(found, NOBODY, NOBODY)
    assert_refused(found, f"it belongs to user {NOBODY}, neither to this user (0) nor to root")


@needs_root
def test_a_link_that_somebody_else_has_put_there_is_refused(found: Path, tmp_path: Path) -> None:
    found.rename(tmp_path / "other.toml")
    found.symlink_to("other.toml")
    assert Config.from_environment({}).domain == 6
    os.lchown(found, NOBODY, NOBODY)
    config_file._read.cache_clear()
    assert_refused(found, f"it belongs to user {NOBODY}")


def test_a_file_that_anybody_may_write_is_refused(found: Path) -> None:
    found.chmod(0o646)
    assert_refused(found, "others may write to it (mode 0646")


@needs_root
def test_a_file_of_a_group_is_refused_if_that_may_write_and_is_not_ours(found: Path) -> None:
    os.chown(found, 0, NOBODY)
    assert Config.from_environment({}).domain == 6
    config_file._read.cache_clear()
    found.chmod(0o664)
    assert_refused(found, f"others may write to it (mode 0664, group {NOBODY})")


def test_a_file_that_our_own_group_may_write_is_taken(found: Path) -> None:
    os.chown(found, -1, os.getegid())
    found.chmod(0o664)
    assert Config.from_environment({}).domain == 6


def test_a_relative_name_counts_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.toml").write_text("domain = 9")
    monkeypatch.chdir(tmp_path)
    assert Config.from_environment({"LUNAR_CONFIG": "x.toml"}).domain == 9


def test_a_working_directory_that_is_gone_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Config.from_environment({}).domain == 0


def test_it_is_read_once(write: Write) -> None:
    variables = write("domain = 3")
    assert Config.from_environment(variables).domain == 3
    Path(variables["LUNAR_CONFIG"]).unlink()
    assert Config.from_environment(variables).domain == 3


def test_importing_lunar_reads_no_toml() -> None:
    text = "import sys, lunar; sys.exit(' '.join({'tomllib', 'difflib', 'lunar.interfaces'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n")

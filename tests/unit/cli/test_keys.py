"""`lunar keys`: what it prints, and where the keys lie."""

import json
import stat
from pathlib import Path

import pytest
import zmq

from lunar.cli import completion, exit_codes
from lunar.cli.main import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "lunar" / "keys"


def new_key() -> str:
    key: bytes = zmq.curve_keypair()[0]
    return key.decode()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["keys", *arguments])
    done = capsys.readouterr()
    return code, done.out, done.err


def test_a_pair_is_made_once_and_shown(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    code, key, note = run(capsys, "make")
    assert (code, len(key.strip())) == (exit_codes.OK, 40)
    assert f"lunar keys allow '{key.strip()}'" in note
    assert stat.S_IMODE((home / "secret.key").stat().st_mode) == 0o600
    code, _, error = run(capsys, "make")
    assert code == exit_codes.NOT_FOUND
    assert "already" in error
    assert run(capsys, "show")[:2] == (exit_codes.OK, key)
    assert json.loads(run(capsys, "show", "--json")[1]) == {"public": key.strip(), "directory": str(home)}


def test_without_a_pair_the_remedy_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = run(capsys, "show")
    assert (code, out) == (exit_codes.NOT_FOUND, "")
    assert "lunar keys make" in error


def test_keys_are_allowed_and_listed(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert "no keys" in run(capsys, "list")[2]
    key, other = "a" + new_key()[1:], new_key()
    assert run(capsys, "allow", "--name", "robot", "--", other)[0] == exit_codes.OK
    assert run(capsys, "allow", key, "--json")[0] == exit_codes.OK
    listed = json.loads(run(capsys, "list", "--json")[1])
    assert {each["key"]: each["name"] for each in listed}.pop(other) == "robot"
    assert {each["source"] for each in listed} == {str(path) for path in (home / "allowed").glob("*.key")}
    assert "robot" in run(capsys, "list")[1]


def test_a_name_stands_for_one_key(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    key = new_key()
    for _ in range(2):
        assert run(capsys, "allow", "--name", "robot", "--", key)[0] == exit_codes.OK
    code, _, error = run(capsys, "allow", "--name", "robot", "--", new_key())
    assert code == exit_codes.NOT_FOUND
    assert "robot.key" in error
    assert [path.name for path in (home / "allowed").iterdir()] == ["robot.key"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("allow", "short"), "40 characters of Z85"),
        (("allow", "a" * 40, "--name", "../secret"), "1 to 64 letters"),
        (("show", "--transport", "dds"), "one of those that have keys: zmq"),
    ],
)
def test_what_is_wrong_is_named(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == exit_codes.USAGE
    assert said in error
    assert "environment variable" not in error


def test_a_folder_that_cannot_be_made_is_an_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    for arguments in (("make",), ("allow", "a" * 40)):
        code, _, error = run(capsys, *arguments)
        assert code == exit_codes.NOT_FOUND
        assert str(tmp_path / "file") in error


def test_transports_with_keys_are_offered() -> None:
    assert completion.complete_key_transports("z") == ["zmq"]
    assert completion.complete_key_transports("d") == []

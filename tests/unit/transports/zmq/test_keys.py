"""Keys: made private, loaded only if they are, and the list of those that are let in."""

import base64
import os
import stat
from pathlib import Path

import pytest
import zmq.utils.z85
from hypothesis import given
from hypothesis import strategies as st
from lunar_zmq.gate import answer, z85
from lunar_zmq.keys import AllowList, load_keys, make_keys

from lunar.errors import TransportUnavailable


def test_keys_are_made_private_and_loaded(tmp_path: Path):
    public = make_keys(tmp_path / "keys")
    pair = load_keys(tmp_path / "keys")
    assert pair.public == public
    assert (tmp_path / "keys" / "public.key").read_text().strip() == public
    assert stat.S_IMODE((tmp_path / "keys" / "secret.key").stat().st_mode) == 0o600
    assert pair.secret not in repr(pair)


def test_keys_in_use_are_not_written_over(tmp_path: Path):
    public = make_keys(tmp_path)
    with pytest.raises(FileExistsError):
        make_keys(tmp_path)
    assert load_keys(tmp_path).public == public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int):
    make_keys(tmp_path)
    os.chmod(tmp_path / "secret.key", mode)
    with pytest.raises(TransportUnavailable, match="chmod 600"):
        load_keys(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe", b"# only a comment\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes):
    make_keys(tmp_path)
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(TransportUnavailable):
        load_keys(tmp_path)


def test_without_keys_the_remedy_is_named(tmp_path: Path):
    with pytest.raises(TransportUnavailable, match="lunar keys"):
        load_keys(tmp_path)


def test_the_list_is_read_again_once_a_second(tmp_path: Path):
    own, listed, late = (zmq.curve_keypair()[0].decode() for _ in range(3))
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "broken.key").write_bytes(b"\xff")
    allowed = AllowList(own, [listed], tmp_path)
    assert allowed.allows(own, 0.0)
    assert allowed.allows(listed, 0.0)
    assert not allowed.allows(late, 0.0)
    (tmp_path / "allowed" / "late.key").write_text(f"# Late\n{late}\n")
    assert not allowed.allows(late, 0.5)
    assert allowed.allows(late, 1.0)


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_written_as_pyzmq_writes_them(key: bytes):
    assert z85(key) == zmq.utils.z85.encode(key).decode()


def request(mechanism: bytes = b"CURVE", domain: bytes = b"lunar", key: bytes = bytes(32)) -> list[bytes]:
    return [b"1.0", b"id", domain, b"127.0.0.1", b"", mechanism, key]


def test_a_listed_key_is_let_in_under_its_name():
    name = z85(bytes(32))
    assert answer(request(), {name}.__contains__) == [b"1.0", b"id", b"200", b"OK", name.encode(), b""]


@pytest.mark.parametrize(
    "asked",
    [
        request(key=base64.b85decode(b"0" * 40)[:31] + b"x"),
        request(key=b"short"),
        request(mechanism=b"NULL"),
        request(domain=b"other"),
        request()[:6],
        [],
    ],
)
def test_everybody_else_is_not(asked: list[bytes]):
    assert answer(asked, {z85(bytes(32))}.__contains__)[2] == b"400"

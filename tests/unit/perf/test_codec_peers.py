"""Every codec that is installed does the same work: the same values in, the same values out."""

import importlib.util
from dataclasses import replace

import pytest
from lunar_perf.codec_peer import CODECS, load
from lunar_perf.codec_snippets import Mixed, codec_snippets, encode_mixed, lend_mixed, loan_like, official_snippet
from lunar_perf.codec_values import BLOCK, FLOATS, IMU, LABEL
from lunar_perf.codecs.lunar_messages import make

from lunar import Node
from lunar.messages import decode
from lunar.msgs import Imu
from lunar.testing import isolated


@pytest.mark.parametrize("name", CODECS)
def test_every_codec_has_its_module(name: str) -> None:
    assert CODECS[name].name == name
    assert importlib.util.find_spec(CODECS[name].module) is not None


@pytest.mark.parametrize("name", CODECS)
def test_every_installed_codec_gives_back_what_it_was_given(name: str) -> None:
    missing = CODECS[name].missing()
    if missing is not None:
        pytest.skip(f"{missing}: pip install lunar-mom[compare]")
    codec = load(name)
    data = codec.encode(codec.make(IMU))
    assert isinstance(data, bytes)
    assert codec.read_one(data) == IMU.linear_acceleration[-1]
    assert codec.read_all(data) == IMU.flat()
    other = replace(IMU, sec=7, frame_id="another", linear_acceleration=(1.5, 2.5, 3.5))
    assert codec.read_all(codec.encode(codec.make(other))) == other.flat()
    made = codec.make(IMU)
    assert codec.encode(made) == codec.encode(made)


def test_the_official_builder_writes_the_message_that_lunar_writes() -> None:
    from lunar_perf.codecs import flatbuffers_builder

    assert decode(Imu, flatbuffers_builder.encode(IMU)) == make(IMU)
    own, official = loan_like(), loan_like()
    own_size = encode_mixed(FLOATS, LABEL, BLOCK, own)
    official_size = flatbuffers_builder.encode_mixed(FLOATS, LABEL, BLOCK, official)
    messages = [decode(Mixed, bytes(into[:size])) for into, size in ((own, own_size), (official, official_size))]
    assert messages[0] == messages[1]
    assert (messages[0].j, messages[0].label, bytes(messages[0].block)) == (FLOATS[-1], LABEL, BLOCK)


def test_a_loan_publishes_the_message_that_is_encoded() -> None:
    own = loan_like()
    encoded = decode(Mixed, bytes(own[: encode_mixed(FLOATS, LABEL, BLOCK, own)]))
    with isolated(), Node("codec") as node:
        publisher = node.create_publisher(Mixed, "codec/mixed")
        subscription = node.create_subscription(Mixed, "codec/mixed")
        publisher.wait_for_subscribers_blocking(1, timeout_s=5)
        lend_mixed(publisher, FLOATS, LABEL, BLOCK)
        assert subscription.receive_blocking(timeout_s=5) == encoded


def test_every_codec_is_timed_with_the_same_statements() -> None:
    keys = [snippet.key for snippet in codec_snippets("lunar", load("lunar"))]
    assert keys == ["lunar/encode from values", "lunar/encode", "lunar/read one", "lunar/read all"]
    assert official_snippet().key == "mixed/flatbuffers"


def test_a_library_in_a_package_that_is_not_there_is_missing() -> None:
    entry = replace(CODECS["protobuf"], requires=("no_such_package.protobuf", "json"))
    assert entry.missing() == "no_such_package.protobuf not installed"

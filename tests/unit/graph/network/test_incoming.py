"""A stream from another host, fed by an engine in C, which may deliver at any moment."""

import threading
from unittest.mock import MagicMock

import pytest

from lunar.graph.network.incoming import IncomingStream
from lunar.qos import QoS

pytestmark = pytest.mark.native


def test_nothing_is_taken_in_before_somebody_is_there_to_have_it() -> None:
    host, loopback = MagicMock(), MagicMock()
    host.lock = threading.RLock()
    stream = IncomingStream(
        MagicMock(qos=QoS(), publisher_id="p" * 32, reliable=True),
        host,
        loopback,
        MagicMock(),
        1 << 20,
        MagicMock(),
        MagicMock(),
        MagicMock(),
        MagicMock(),
        MagicMock(),
        MagicMock(),
    )
    was_open: list[bool] = []

    def connect(*_: object) -> tuple[MagicMock, MagicMock]:
        was_open.append(stream.inlet.is_open)
        return MagicMock(), MagicMock()

    loopback.connect = connect
    stream.add(MagicMock(check=None), MagicMock())
    stream._begin(0, 0)
    assert was_open == [False]
    assert stream.inlet.is_open
    stream.close()

"""The native part of the transport: what it is given wrongly, and what it refuses."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from lunar_dds import _cdr, frames

from lunar.errors import PeerFault

pytestmark = pytest.mark.native

PUBLISHER = b"p" * 16


def test_without_the_library_there_are_no_ends() -> None:
    program = """
from lunar_dds import _cdr
for make in (lambda: _cdr.Writer(1, 1), lambda: _cdr.Reader(1)):
    try:
        make()
    except RuntimeError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["the library is not loaded"] * 2


@pytest.mark.parametrize("addresses", [{}, {"dds_takecdr": 1}, {"ddsi_serdata_from_ser_iov": 0}])
def test_the_library_must_have_all(addresses: dict[str, int]) -> None:
    with pytest.raises(KeyError):
        _cdr.bind(addresses, print)
    with pytest.raises(TypeError):
        _cdr.bind({"ddsi_serdata_from_ser_iov": "text"}, print)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: frames.head(1, b"short"),
        lambda: frames.head(1, "p" * 16),  # type: ignore[arg-type]
        lambda: frames.head(300, PUBLISHER),
        lambda: frames.parse(3),  # type: ignore[arg-type]
        lambda: frames.parse(frames.head(1, PUBLISHER)).is_for(b"short"),
        lambda: frames.parse(frames.head(1, PUBLISHER)).is_for("p" * 16),  # type: ignore[arg-type]
        _cdr.Sample,
        _cdr.Frame,
    ],
)
def test_what_is_given_wrongly_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        wrong()


def test_a_frame_keeps_what_it_was_taken_from() -> None:
    content = bytearray(frames.head(frames.SHARED, PUBLISHER, 3) + b"abc\0")
    frame = frames.parse(content)
    with pytest.raises(BufferError):
        content.append(0)
    view = memoryview(frame)
    assert (view.readonly, bytes(view)) == (True, b"abc")
    del frame
    with pytest.raises(BufferError):
        content.append(0)
    view.release()
    content.append(0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a DDS sample of 0 bytes"),
        (frames.head(1, PUBLISHER)[:-1], "a DDS sample of 63 bytes"),
        (frames.head(0, PUBLISHER), "of kind 0"),
        (frames.head(9, PUBLISHER), "of kind 9"),
        (frames.head(1, PUBLISHER, audience=b"x" * 15), "an audience of 15 bytes"),
        (frames.head(1, PUBLISHER, audience=b"x" * 16)[:-16], "an audience of 16 bytes"),
        (frames.head(1, PUBLISHER, 4) + b"abc", "payload of 4 bytes is cut off"),
        (frames.head(1, PUBLISHER, 2**32 - 1) + b"abc", "payload of 4294967295 bytes is cut off"),
    ],
)
def test_what_is_none_of_ours_is_a_fault(content: bytes, text: str) -> None:
    with pytest.raises(PeerFault, match=text):
        frames.parse(content)

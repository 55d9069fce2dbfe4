import io
import sys
from pathlib import Path

import pytest

from lunar.cli.message_source import PayloadSource


def test_each_source_makes_its_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"\x00file")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xffstdin")))
    assert PayloadSource(text="zażółć").open()() == "zażółć".encode()
    assert PayloadSource(text="").open()() == b""
    assert PayloadSource(hex_digits="00 ff").open()() == b"\x00\xff"
    assert PayloadSource(file=str(path)).open()() == b"\x00file"
    assert PayloadSource(file="-").open()() == b"\xffstdin"


def test_arguments_that_are_no_text_are_published_as_they_are() -> None:
    assert PayloadSource(text=b"\xff\xfe".decode("utf-8", "surrogateescape")).open()() == b"\xff\xfe"


def test_random_messages_have_the_size_and_differ() -> None:
    next_payload = PayloadSource(size_bytes=32).open()
    first, second = next_payload(), next_payload()
    assert len(first) == len(second) == 32
    assert first != second
    assert PayloadSource(size_bytes=0).open()() == b""


@pytest.mark.parametrize("source", [PayloadSource(), PayloadSource(text="a", size_bytes=1)])
def test_exactly_one_source_is_needed(source: PayloadSource) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        source.open()


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PayloadSource(file=str(tmp_path / "missing")).open()
    with pytest.raises(ValueError, match="hexadecimal"):
        PayloadSource(hex_digits="xyz").open()

import io
import json
import sys

import pytest

from lunar.cli import output
from lunar.cli.output import (
    ReaderGone,
    Table,
    coloured,
    plain_columns,
    write_bytes,
    write_json,
    write_line,
    write_table,
)

TABLE = Table(("NAME", "COUNT"), [("/a/very/long/name", "1"), ("[bold]b[/bold]", "22")])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class BrokenPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_plain_columns_are_aligned_and_never_cut() -> None:
    wide = Table(("NAME", "X"), [("n" * 500, "1")], title="all")
    assert plain_columns(TABLE).splitlines() == [
        "NAME               COUNT",
        "/a/very/long/name  1",
        "[bold]b[/bold]     22",
    ]
    assert plain_columns(wide).splitlines() == ["all", "NAME" + " " * 498 + "X", "n" * 500 + "  1"]


def test_an_empty_table_is_its_headings() -> None:
    assert plain_columns(Table(("A", "B"), [])) == "A  B\n"


def test_a_terminal_gets_a_drawn_table_with_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    write_table(TABLE)
    assert "[bold]b[/bold]" in screen.getvalue()
    assert "─" in screen.getvalue()


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"text": "two\nlines", "name": "ż"})
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "ż" in line
    assert json.loads(line) == {"text": "two\nlines", "name": "ż"}


def test_json_has_no_numbers_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json({"rate": float("inf")})


def test_bytes_come_after_the_text_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="utf-8"))
    write_line("text")
    write_bytes(memoryview(b"\xff\x00"))
    output.flush_output()
    assert raw.getvalue() == b"text\n\xff\x00"


def test_a_reader_that_has_gone_is_told_apart_from_other_broken_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", BrokenPipe())
    for write in (output.flush_output, lambda: write_line("x"), lambda: write_json({}), lambda: write_bytes(b"x")):
        with pytest.raises(ReaderGone):
            write()


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured("ok", "green") == "ok"
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert coloured("ok", "green") == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("ok", "green") == "ok"


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_note("waiting")
    output.write_warning("odd")
    output.write_error("gone")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "lunar: waiting\nlunar: warning: odd\nlunar: error: gone\n"


def test_nothing_in_json_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"text": "zażółć 日本 \x1b[31m \x7f \x9b2J \u202e \U000e0001", "quoted": 'a "b" \\ \n'}
    write_json(document)
    line = capsys.readouterr().out
    assert "zażółć 日本" in line
    assert line.removesuffix("\n").isprintable()
    assert json.loads(line) == document


def test_each_line_of_an_error_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_error("one\ntwo")
    assert capsys.readouterr().err == "lunar: error: one\nlunar: error: two\n"

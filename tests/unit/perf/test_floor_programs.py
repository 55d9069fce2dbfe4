"""The floors in C: built from a checkout, and else said to be unavailable."""

import shutil
from pathlib import Path

import pytest
from lunar_perf.floor_programs import REMEDY, SOURCES, missing
from lunar_perf.peer import LINK_PEERS, remedy_of


def test_without_the_sources_they_are_said_to_be_needed(tmp_path: Path) -> None:
    assert "sources are needed" in (missing(tmp_path) or "")


def test_without_a_compiler_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert missing(SOURCES) == "make and cc not found"


def test_what_does_not_compile_is_named(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@echo 'x.c:1: error: no semicolon' >&2; false\n")
    assert missing(tmp_path) == "they cannot be built: x.c:1: error: no semicolon"


@pytest.mark.skipif(any(shutil.which(name) is None for name in ("make", "cc")), reason="no make or no cc")
def test_they_are_built(tmp_path: Path) -> None:
    assert missing(SOURCES, tmp_path) is None
    assert {"xdp_floor", "udp_floor"} <= {path.name for path in tmp_path.iterdir()}


def test_each_peer_has_its_own_remedy() -> None:
    assert remedy_of("af_xdp-raw") == remedy_of("udp-polled") == REMEDY
    assert remedy_of("pyzmq") == LINK_PEERS["pyzmq"].remedy != REMEDY

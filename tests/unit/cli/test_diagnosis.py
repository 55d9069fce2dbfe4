import json
from collections.abc import Iterator

import pytest

from lunar.cli.diagnosis import Check, examine, report

FINE = Check("kernel", "ok", "Linux")
ODD = Check("cores", "warning", "only 1", "more cores")
BROKEN = Check("inotify", "failed", "none left", "raise the limit")


def test_an_examination_that_breaks_down_is_a_failed_check_and_stops_no_other() -> None:
    def half_way() -> Iterator[Check]:
        yield ODD
        raise RuntimeError("no such file")

    checks = list(examine([("half", half_way), ("fine", lambda: [FINE])]))
    assert checks[0] == ODD
    assert (checks[1].name, checks[1].status) == ("half", "failed")
    assert "RuntimeError: no such file" in checks[1].text
    assert checks[1].remedy
    assert checks[2] == FINE


def test_the_report_shows_status_text_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([FINE, ODD], as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(maxsplit=2) == ["ok", "kernel", "Linux"]
    assert lines[1].split(maxsplit=2) == ["warning", "cores", "only 1"]
    assert lines[2].strip() == "remedy: more cores"
    assert lines[3] == "2 checks: 0 failed, 1 warning"


def test_a_failed_check_decides_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report([FINE, BROKEN], as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"version", "ok", "checks"}
    assert document["ok"] is False
    assert document["checks"][1] == {
        "name": "inotify",
        "status": "failed",
        "text": "none left",
        "remedy": "raise the limit",
    }

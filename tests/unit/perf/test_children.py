"""Whatever a measured process does, the run ends, says why, and leaves no process."""

import os
import sys
from pathlib import Path

import psutil
import pytest
from lunar_perf.children import Child, RunFailed, run_children

_PROGRAM = """
import os, sys
from lunar_perf.child import begin, ready, tell
done, report = begin(None)
match sys.argv[1]:
    case "reports":
        print("a library's chatter")
        tell(report, sys.argv[2])
    case "stays":
        done.wait()
        tell(report, "stayed")
    case "starts":
        ready(report)
        tell(report, os.environ["LUNAR_RUNTIME_DIR"])
    case "fails":
        raise SystemExit("it went wrong")
    case "complains":
        print("before")
        raise SystemExit("it went wrong: " + "x" * 2000)
    case "hangs":
        import threading
        threading.Event().wait()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "perf_child_program.py").write_text(_PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "perf_child_program"


def child(program: str, *arguments: str, ends_run: bool = True) -> Child:
    return Child(arguments[0], program, arguments, ends_run)


def children_left() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_each_report_is_returned_in_order_without_what_libraries_print(program: str) -> None:
    reports = run_children([child(program, "reports", "one"), child(program, "reports", "two")], 30)
    assert [report.strip() for report in reports] == ["one", "two"]


def test_who_does_not_end_the_run_is_told_when_it_is_over(program: str) -> None:
    reports = run_children([child(program, "stays", ends_run=False), child(program, "reports", "one")], 30)
    assert reports[0].strip() == "stayed"


def test_with_one_starting_at_once_each_waits_for_the_one_before_to_be_ready(program: str) -> None:
    reports = run_children([child(program, "starts")] * 3, 30, starting_at_once=1)
    assert len({report.strip() for report in reports}) == 1
    assert not Path(reports[0].strip()).exists()


def test_a_failure_names_the_process_and_ends_the_others(program: str) -> None:
    with pytest.raises(RunFailed, match="fails: exit status 1: it went wrong"):
        run_children([child(program, "hangs"), child(program, "fails")], 30)
    assert children_left() == []


def test_of_a_long_complaint_the_beginning_is_told(program: str) -> None:
    with pytest.raises(RunFailed, match="complains: exit status 1: it went wrong: xxx"):
        run_children([child(program, "complains")], 30)


def test_a_process_that_hangs_is_ended_in_time(program: str) -> None:
    with pytest.raises(RunFailed, match="hangs: no report within 1 s"):
        run_children([child(program, "hangs")], 1)
    assert children_left() == []


def test_a_module_that_does_not_exist_is_a_failure_too() -> None:
    with pytest.raises(RunFailed, match="No module named lunar_no_such_module"):
        run_children([Child("absent", "lunar_no_such_module", (), True)], 30)


def test_what_lies_in_the_working_directory_is_not_imported(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lunar_perf.py").write_text("raise SystemExit('this is the wrong one')")
    monkeypatch.chdir(elsewhere)
    assert run_children([child(program, "reports", "one")], 30) == ["one\n"]

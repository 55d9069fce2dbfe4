"""A process that answers calls."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lunar import errors
from lunar.testing import Child, ChildFailed

PROGRAM = Path(__file__).with_name("echo_child.py")


@pytest.fixture
def child() -> Iterator[Child]:
    with Child(PROGRAM, "argued", environment={"LUNAR_TEST_VARIABLE": "set"}) as child:
        yield child


def test_it_answers_plain_and_asynchronous_commands_in_order(child: Child) -> None:
    child.start("later", value=1)
    child.start("echo", value={"a": [1, None, "\n"]})
    assert child.answer() == 2
    assert child.answer() == {"a": [1, None, "\n"]}
    assert child.call("argument") == "argued"
    assert child.call("variable", key="LUNAR_TEST_VARIABLE") == "set"


def test_an_answer_larger_than_a_pipe_comes_whole(child: Child) -> None:
    assert child.call("echo", value="x" * 3_000_000) == "x" * 3_000_000


def test_an_exception_there_is_one_here_and_the_next_call_works(child: Child) -> None:
    with pytest.raises(ChildFailed, match="KeyError: 'as asked'") as raised:
        child.call("fail")
    assert raised.value.kind == "KeyError"
    with pytest.raises(ChildFailed, match="KeyError: 'no such'"):
        child.call("no such")
    assert child.call("echo", value=3) == 3


def test_an_end_before_the_answer_is_told(child: Child) -> None:
    with pytest.raises(ChildFailed, match="has ended with code 3"):
        child.call("end", code=3)
    assert child.close() == 3


def test_a_call_of_one_that_was_killed_is_told_and_does_not_disturb_its_close(child: Child) -> None:
    child.call("echo", value=None)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ChildFailed, match="has ended"):
        child.call("echo", value=None)
    assert child.close() == -signal.SIGKILL


def test_no_answer_in_time_is_told(child: Child) -> None:
    child.call("echo", value=None)
    with pytest.raises(errors.TimeoutError, match="did not answer in time"):
        child.call("never", timeout_s=0.01)
    assert child.kill() == -signal.SIGKILL


def test_it_ends_by_itself_when_told_to(child: Child) -> None:
    child.call("echo", value=None)
    assert child.close() == 0
    assert child.close() == 0
    with pytest.raises(ChildFailed, match="was told to end"):
        child.call("echo", value=None)


def test_it_can_be_stopped_and_resumed(child: Child) -> None:
    child.call("echo", value=None)
    child.stop()
    child.start("echo", value=1)
    with pytest.raises(errors.TimeoutError):
        child.answer(timeout_s=0.05)
    child.resume()
    assert child.answer() == 1

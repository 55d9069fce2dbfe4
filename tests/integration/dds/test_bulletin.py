"""Discovery by DDS, between processes on the loopback interface."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lunar import testing

PROGRAM = Path(__file__).parent / "bulletin_child.py"
LEASE_S = 1.5

A, B, C = "a1" * 16, "b2" * 16, "c3" * 16

Start = Callable[[str], testing.Child]
Notes = list[tuple[int, str, int | None]]


@pytest.fixture
def start(domain: int) -> Iterator[Start]:
    with ExitStack() as ends:

        def one(identity: str) -> testing.Child:
            return ends.enter_context(testing.Child(PROGRAM, identity * 16, str(domain), str(LEASE_S)))

        yield one


def news_of(child: testing.Child, count: int) -> Notes:
    answer = child.call("news", count=count)
    assert isinstance(answer, list)
    return [(source, key, length) for source, key, length in answer]


def what(notes: Notes) -> list[tuple[str, int | None]]:
    return [(key, length) for _, key, length in notes]


def test_what_is_posted_and_withdrawn_arrives_in_order(start: Start) -> None:
    ours, theirs = start("01"), start("02")
    for key, length in ((B, 10), (A, 10 * 1024), (C, 200 * 1024)):
        ours.call("post", key=key, length=length)
    got = news_of(theirs, 3)
    assert what(got) == [(B, 10), (A, 10 * 1024), (C, 200 * 1024)]
    assert len({source for source, _, _ in got}) == 1
    ours.call("withdraw", key=A)
    assert what(news_of(theirs, 1)) == [(A, None)]
    ours.call("post", key=B, length=0)
    assert what(news_of(theirs, 1)) == [(B, 0)]


def test_a_late_joiner_gets_what_is_still_posted(start: Start) -> None:
    ours = start("01")
    for key in (A, B, C):
        ours.call("post", key=key, length=100)
    ours.call("post", key=B, length=200 * 1024)
    ours.call("withdraw", key=A)
    theirs = start("02")
    theirs.call("post", key="d4" * 16, length=5)
    assert what(news_of(theirs, 2)) == [(C, 100), (B, 200 * 1024)]
    assert what(news_of(ours, 1)) == [("d4" * 16, 5)]


def test_a_killed_process_is_lost_within_its_lease(start: Start) -> None:
    ours, theirs = start("01"), start("02")
    ours.call("post", key=A, length=1)
    ((source, _, _),) = news_of(theirs, 1)
    ours.kill()
    killed_at = time.monotonic()
    assert news_of(theirs, 1) == [(source, "", None)]
    assert time.monotonic() - killed_at < LEASE_S + 1.0


def test_a_process_that_closes_is_lost_at_once(start: Start) -> None:
    ours, theirs = start("01"), start("02")
    ours.call("post", key=A, length=1)
    ((source, _, _),) = news_of(theirs, 1)
    ours.call("close")
    assert news_of(theirs, 2) == [(source, A, None), (source, "", None)]


def test_a_process_that_stood_still_comes_again_with_all_it_has_posted(start: Start) -> None:
    ours, theirs = start("01"), start("02")
    ours.call("post", key=A, length=1)
    ours.call("post", key=B, length=100_000)
    ((source, _, _), _) = news_of(theirs, 2)
    ours.stop()
    assert news_of(theirs, 1) == [(source, "", None)]
    ours.resume()
    assert what(news_of(theirs, 2)) == [(A, 1), (B, 100_000)]
    ours.call("post", key=C, length=3)
    assert what(news_of(theirs, 1)) == [(C, 3)]

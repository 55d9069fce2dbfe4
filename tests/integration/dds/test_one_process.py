"""Several users of DDS in one process, and what a fork leaves of them."""

import os
import select
from collections.abc import Callable

import pytest
from lunar_dds import Bulletin, Transport

from lunar import abc
from lunar.errors import ConfigError

A, B = "0a" * 16, "0b" * 16


def site(identity: str, domain: int, **settings: object) -> abc.Site:
    return abc.Site(identity, domain, ("127.0.0.1",), ("lo",), settings)


def take(board: Bulletin) -> list[tuple[bytes, bytes | None]]:
    assert select.select([board], [], [], 10)[0]
    return [(news.key, news.body) for news in board.take()]


def test_two_bulletins_of_one_process_meet_and_leave_nothing(domain: int, no_leaks: Callable[[], list[str]]) -> None:
    ours, theirs = Bulletin(site(A, domain)), Bulletin(site(B, domain))
    try:
        ours.post(b"k" * 16, b"body")
        assert take(theirs) == [(b"k" * 16, b"body")]
        assert not select.select([ours], [], [], 0)[0] or ours.take() == []
    finally:
        ours.close()
        assert take(theirs)[-1] == (b"", None)
        theirs.close()
        theirs.close()


def test_a_domain_is_set_up_once(domain: int) -> None:
    board = Bulletin(site(A, domain))
    try:
        with pytest.raises(ConfigError, match=r"127\.0\.0\.2"):
            Bulletin(site(B, domain), static_peers=("127.0.0.2",))
    finally:
        board.close()
    Bulletin(site(B, domain), static_peers=("127.0.0.2",)).close()


def test_a_child_process_closes_its_copies_and_disturbs_nobody(domain: int) -> None:
    ours, theirs = Bulletin(site(A, domain)), Bulletin(site(B, domain))
    engine = Transport().open(site(A, domain))
    child = os.fork()
    if child == 0:
        for each in (ours, theirs, engine):
            each.close_after_fork()
        ours.close()
        engine.close()
        os._exit(0 if ours.take() == [] and engine.work() is None else 1)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        ours.post(b"k" * 16, b"after")
        assert take(theirs) == [(b"k" * 16, b"after")]
    finally:
        for each in (ours, theirs, engine):
            each.close()

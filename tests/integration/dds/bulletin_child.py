"""A process with a bulletin, told what to do by test_bulletin.py."""

import asyncio
import select
import sys
import time

from lunar_dds import Bulletin

from lunar import abc
from lunar.testing import serve

identity, domain, lease_s = sys.argv[1:]
board = Bulletin(abc.Site(identity, int(domain), ("127.0.0.1",), ("lo",), {}), float(lease_s))


def post(key: str, length: int) -> None:
    board.post(bytes.fromhex(key), key[0].encode() * length)


def withdraw(key: str) -> None:
    board.withdraw(bytes.fromhex(key))


def news(count: int, timeout_s: float = 15.0) -> list[tuple[int, str, int | None]]:
    """Waits for so many news and says what they are: source, key, length of the body."""
    taken: list[abc.News] = []
    give_up_at = time.monotonic() + timeout_s
    while len(taken) < count and (left := give_up_at - time.monotonic()) > 0:
        if select.select([board], [], [], left)[0]:
            taken += board.take()
    for each in taken:
        assert not each.body or set(each.body) == {ord(each.key.hex()[0])}
    return [(int(str(each.source)), each.key.hex(), None if each.body is None else len(each.body)) for each in taken]


asyncio.run(serve({"post": post, "withdraw": withdraw, "news": news, "close": board.close}))

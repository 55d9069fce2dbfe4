"""The other process of test_child.py."""

import asyncio
import os
import sys

from lunar.testing import serve


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


def fail() -> None:
    raise KeyError("as asked")


def end(code: int) -> None:
    sys.stdout.flush()
    os._exit(code)


asyncio.run(
    serve(
        {
            "echo": lambda value: value,
            "later": later,
            "fail": fail,
            "end": end,
            "argument": lambda: sys.argv[1],
            "variable": os.environ.get,
            "never": lambda: asyncio.Event().wait(),
        }
    )
)

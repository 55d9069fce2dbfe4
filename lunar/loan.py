"""MessageLoan: a message that is filled in place, in memory that it is published from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Generic, TypeVar, cast

from lunar._native import _codec
from lunar._native._bus import Loan, Writer

__all__ = ["MessageLoan"]

M = TypeVar("M")


class MessageLoan(Generic[M]):
    """Yields a message in the publisher's memory; leaving the block publishes it, an exception discards it.

    Scalars and structs can be set in the block, and vectors of scalars filled through their arrays or set to as many
    others; what has no fixed size (strings, nested tables, lists) has to be given when the loan is made. A vector given
    as a number has that many elements, of any value until they are filled. After the block the message is read-only; an
    array that was taken from it is not, and keeps its memory from being used again. Use it with `with`, which raises
    WouldBlock where it would have to wait, or `async with`, which waits.

    Args:
        writer: The publisher's native side.
        plan: Of the message.
        fields: Values, by field.

    Raises:
        FieldError: A value is not what its field holds.
    """

    def __init__(self, writer: Writer[M], plan: _codec.Plan, fields: Mapping[str, object]) -> None:
        self._plan = plan
        self._reserved = _codec.reservation(plan, fields)
        self._loan = Loan(writer, _codec.size(self._reserved, True))
        self._message: _codec.Message | None = None

    def _write(self, buffer: memoryview) -> M:
        _codec.write(self._reserved, buffer, 0, True)
        self._message = _codec.view(self._plan, buffer, True, False)
        return cast("M", self._message)

    def _freeze(self) -> None:
        if self._message is not None:
            _codec.freeze(self._message)
            self._message = None

    def __enter__(self) -> M:
        buffer = self._loan.__enter__()
        try:
            return self._write(buffer)
        except BaseException:
            self._loan.__exit__(*sys.exc_info())
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._freeze()
        return self._loan.__exit__(kind, value, traceback)

    async def __aenter__(self) -> M:
        buffer = await self._loan.__aenter__()
        try:
            return self._write(buffer)
        except BaseException:
            await self._loan.__aexit__(*sys.exc_info())
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._freeze()
        await self._loan.__aexit__(kind, value, traceback)

"""What a run of Lunar sends: bytes, or messages of a class. Both go through the same measured loops."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, cast

import lunar
from lunar.messages import Message
from lunar.publisher import MessagePublisher
from lunar_perf.payload import CorruptPayload, check_echo, pattern
from lunar_perf.typed_messages import loan_fields, message_class, sample_of
from lunar_perf.work import Work


class AnyLoan(AbstractContextManager[object], AbstractAsyncContextManager[object], Protocol):
    """A loan of bytes or of a message."""


Loaner = Callable[[int], AnyLoan]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is sent.

    Attributes:
        python_type: the message type of publisher and subscription; not always ``bytes``, as the annotation has it, but
            what is done with either end in a measured loop is the same.
        payload: what is published.
    """

    python_type: type[bytes]
    payload: object

    def check(self, echo: object) -> None:
        """Compare what came back with what was sent.

        Raises:
            CorruptPayload: they differ.
        """
        if isinstance(self.payload, bytes):
            check_echo(self.payload, bytes(cast("memoryview", echo)))
        elif echo != self.payload:
            raise CorruptPayload(f"{self.payload!r} came back as {echo!r}")

    def loaner(self, publisher: lunar.Publisher[object]) -> Loaner:
        """What loans one message: of bytes the publisher's own method, given their number."""
        if not isinstance(self.payload, Message):
            return cast("Loaner", publisher.loan)
        loan, fields = cast("MessagePublisher[object]", publisher).loan, loan_fields(self.payload)
        return lambda _size_bytes: cast("AnyLoan", loan(**fields))


def subject_of(work: Work) -> Subject:
    """What a piece of work sends.

    Raises:
        UnknownMessage: its message class does not exist.
    """
    if not work.message:
        return Subject(bytes, pattern(work.size_bytes))
    cls = message_class(work.message)
    return Subject(cast("type[bytes]", cls), sample_of(cls))

"""Where the messages of `lunar topic pub` come from: bytes as they are, or fields of a type."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lunar.cli.output import write_note
from lunar.cli.payload import parse_hex
from lunar.cli.topic_types import RAW, subscribed_types
from lunar.errors import LunarError

if TYPE_CHECKING:
    from lunar.cli.graph_view import TopicView

__all__ = ["MessageSource", "PayloadSource", "choose_source"]


@dataclass(frozen=True)
class PayloadSource:
    """Where messages come from: exactly one of these.

    Attributes:
        text: The message itself, as text.
        hex_digits: The message as hexadecimal digits.
        file: A file whose content is the message; `-` is stdin.
        size_bytes: Random messages of this size, each one different.
    """

    text: str | None = None
    hex_digits: str | None = None
    file: str | None = None
    size_bytes: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether it may be the fields of a message: neither hexadecimal digits nor random bytes."""
        return self.hex_digits is None and self.size_bytes is None

    def open(self) -> Callable[[], bytes]:
        """Prepares messages of bytes.

        Returns:
            What makes the next message each time it is called.

        Raises:
            ValueError: Not exactly one source is given, or the hexadecimal digits are none.
            OSError: The file cannot be read.
        """
        self.check()
        if self.size_bytes is not None:
            from random import Random

            # For load, not for secrets: twice as fast as the kernel's.
            return partial(Random().randbytes, self.size_bytes)
        payload = self._read()
        return lambda: payload

    def check(self) -> None:
        """Looks whether it is one source.

        Raises:
            ValueError: It is none, or several.
        """
        given = [value for value in (self.text, self.hex_digits, self.file, self.size_bytes) if value is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of DATA, --hex, --file and --size")

    def open_typed(self, message: type) -> Callable[[], object]:
        """Prepares a message of a class.

        Returns:
            What answers with the message each time it is called.

        Raises:
            ValueError: It is not text, or says something else than a mapping.
            FieldError: A field is not known, or cannot hold what it is given.
            OSError: The file cannot be read.
        """
        from lunar.cli.flow_syntax import FlowError, parse_flow
        from lunar.messages.plain import from_dict

        self.check()
        if not self.is_text:
            raise ValueError("--hex and --size are for messages of bytes: --type bytes")
        value = parse_flow(self._read().decode("utf-8"))
        if not isinstance(value, dict):
            raise FlowError(f"a message is written as its fields, {{field: value}}, not as {value!r:.40}")
        made: object = from_dict(message, value)
        return lambda: made

    def _read(self) -> bytes:
        if self.text is not None:
            return self.text.encode("utf-8", "surrogateescape")  # bytes of the command line that are no UTF-8 stay
        if self.hex_digits is not None:
            return parse_hex(self.hex_digits)
        if self.file == "-":
            return sys.stdin.buffer.read()
        return Path(self.file or "").read_bytes()


@dataclass(frozen=True)
class MessageSource:
    """What to publish.

    Attributes:
        type_name: The type's full name.
        message: `bytes`, or a message class.
        next_message: Makes the next message.
    """

    type_name: str
    message: type
    next_message: Callable[[], object]


def choose_source(payload: PayloadSource, type_text: str | None, topic: TopicView) -> MessageSource:
    """Decides of what type the messages are, and prepares them.

    Args:
        payload: Where they come from.
        type_text: The type as the user wrote it; without, it is that of the topic, and bytes where nobody is there.
        topic: The topic.

    Raises:
        ValueError: What the user gave is no message of that type.
        FieldError: A field is not known, or cannot hold what it is given.
        OSError: The file cannot be read.
        LunarError: There is no such type, or the topic has several.
    """
    payload.check()
    name, message = _choose_type(payload, type_text, topic)
    if message is bytes:
        return MessageSource(name, message, payload.open())
    return MessageSource(name, message, payload.open_typed(message))


def _choose_type(payload: PayloadSource, type_text: str | None, topic: TopicView) -> tuple[str, type]:
    if type_text == RAW.name or (type_text is None and not payload.is_text):
        return RAW.name, RAW.message
    if type_text is not None:
        from lunar.cli.type_lookup import find_type

        found = find_type(type_text)
        return found.name, found.message_class()
    types = subscribed_types(topic)
    if len(types) > 1:
        names = ", ".join(sorted(each.name for each in types))
        raise LunarError(f"there are several types on {topic.name}: {names}; say which one with --type")
    if not types:
        if (payload.text or "").startswith("{"):
            write_note(f"nobody is on {topic.name} yet, so this is published as text; --type makes it a message")
        return RAW.name, RAW.message
    return types[0].name, types[0].message

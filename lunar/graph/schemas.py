"""Schemas of message types: told to peers, and judged where two ends' types are not the same.

On one host a type is told once a link; to other hosts if they ask (`network/wants.py`). A peer's schema is text until
somebody needs it, which is when hashes differ or a tool wants to print a type that it does not know. It is then read
without trust, and must have the hash under which it was told.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lunar.errors import PeerFault, VerificationError

if TYPE_CHECKING:
    from lunar.messages.schema import Schema

__all__ = [
    "Described",
    "OwnSchemas",
    "SchemaTexts",
    "TypeVerdict",
    "is_schema_of",
    "judge",
    "known_schema",
    "parse",
    "schema_text",
    "version_key",
]

_log = logging.getLogger("lunar")

# One must fit into a packet, even if each of its characters had to be escaped there.
_MAX_TEXT_BYTES: Final = 60_000
_MAX_TEXTS_BYTES: Final = 4 << 20

Described = tuple["Schema", str]
"""A schema, and the full name of the root table that is meant."""


@dataclass(frozen=True, slots=True)
class TypeVerdict:
    """What FlatBuffers' evolution rules say of two types with different hashes.

    Attributes:
        compatible: Each end can read what the other writes.
        differences: Field by field, a line each.
    """

    compatible: bool
    differences: tuple[str, ...]


class SchemaTexts:
    """The schemas that a peer has told, by hash."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._bytes = 0

    def take(self, operation: Mapping[str, object], pid: int) -> None:
        """Keeps a schema.

        Raises:
            PeerFault: It is none, or one too many.
        """
        type_hash, text = operation.get("hash"), operation.get("text")
        if not isinstance(type_hash, str) or len(type_hash) != 32 or not isinstance(text, str):
            raise PeerFault("its schema has no hash or no text", pid)
        self._bytes += len(text) + len(type_hash)
        if len(text) > _MAX_TEXT_BYTES or self._bytes > _MAX_TEXTS_BYTES or type_hash in self.texts:
            raise PeerFault("it tells more schemas than there can be", pid)
        self.texts[type_hash] = text

    def described(self, type_hash: str) -> Described | None:
        """The schema of a type, or None if the peer has not told one that can be read: who lies has no matches."""
        text = self.texts.get(type_hash)
        if not text:
            return None
        try:
            return parse(text, type_hash)
        except VerificationError as error:
            # Its text alone: who keeps the record would keep the peer, through the traceback.
            _log.warning("a peer has told a schema that is none, of the type %s: %s", type_hash[:8], str(error))
            self.texts[type_hash] = ""
            return None


class OwnSchemas:
    """The schemas of this process's own message types, as they are told."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def operation(self, described: Described | None, type_hash: str, told: set[str]) -> dict[str, object] | None:
        """What a peer has to be told of a type: once, and nothing of raw bytes or what is too long.

        Args:
            described: The type's schema; None: raw bytes.
            type_hash: Its hash.
            told: Hashes of the types that the peer has been told of; takes this one.
        """
        if described is None or type_hash in told:
            return None
        told.add(type_hash)
        text = self.add(described, type_hash)
        return {"op": "schema", "hash": type_hash, "text": text} if text else None

    def add(self, described: Described | None, type_hash: str) -> str:
        """Takes a type of this process; returns its schema's text, "" for raw bytes and for one that is too long."""
        if type_hash not in self._texts:
            self._texts[type_hash] = (described and schema_text(described)) or ""
        return self._texts[type_hash]

    def text(self, type_hash: str) -> str | None:
        """The text of a schema, as `add` returned it; None for a type that this process has not."""
        return self._texts.get(type_hash)

    def with_those_of(self, peers: Iterable[SchemaTexts]) -> dict[str, str]:
        """All schemas that are known, by hash: of two that differ the one that is of that type."""
        known = {type_hash: text for type_hash, text in self._texts.items() if text}
        for peer in peers:
            for type_hash, text in peer.texts.items():
                other = known.get(type_hash)
                if not other or (other != text and not is_schema_of(other, type_hash)):
                    known[type_hash] = text
        return known


def known_schema(peers: Iterable[SchemaTexts], type_hash: str) -> Described | None:
    """The schema of a type, if one of several peers has told it: whoever does, it is the same."""
    return next((found for peer in peers if (found := peer.described(type_hash)) is not None), None)


def schema_text(described: Described) -> str | None:
    """The text by which a schema is told; None for one that is too long to be told."""
    from lunar.messages.schema_json import to_json

    text = json.dumps(to_json(*described), separators=(",", ":"))
    return text if len(text) <= _MAX_TEXT_BYTES else None


def parse(text: str, type_hash: str) -> Described:
    """Reads a schema that another process has told.

    Raises:
        VerificationError: It is none, or not that of `type_hash`.
    """
    from lunar.messages.identity import type_hash as hash_of
    from lunar.messages.schema_json import from_json

    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"it is not JSON: {error}") from error
    schema = from_json(document)
    if schema.root is None or hash_of(schema, schema.root) != type_hash:
        raise VerificationError("it is the schema of another type")
    return schema, schema.root


def is_schema_of(text: str, type_hash: str) -> bool:
    """Whether a text is the schema of a type."""
    try:
        parse(text, type_hash)
    except VerificationError:
        return False
    return True


def version_key(type_name: str) -> str:
    """The same of all types that endpoints name so that they can be versions of one.

    A struct travels in a table that is named after it, see `lunar.messages.structured.root_schema`.
    """
    return type_name.removesuffix("Message")


def judge(ours: Described | None, theirs: Described | None) -> TypeVerdict | None:
    """Compares two types of different hashes; None where one is not known, or they are not of one name."""
    if ours is None or theirs is None or ours[1] != theirs[1]:
        return None
    from lunar.messages.evolution import compatible

    is_compatible, differences = compatible(ours[0], theirs[0], ours[1])
    return TypeVerdict(is_compatible, tuple(map(str, differences)))

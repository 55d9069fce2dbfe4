"""What a `.fbs` file includes, and which of its defaults flatc would lose: just enough of the language to tell.

flatc alone decides whether a schema is right; this reads only text that flatc has accepted, or is about to refuse.
Where a compiled schema cannot hold a default (the text of a string, a uint64 of 2**63 or more, the sign of -0.0), a
copy of the files is compiled in which it stands once more, as an attribute. Source: flatbuffers.dev, "Grammar".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lunar.messages.bfbs import DEFAULT_ATTRIBUTE

__all__ = ["DECLARATIONS", "SourceFile", "read_sources", "sources_key", "with_default_attributes"]

DECLARATIONS: Final = ("lunar.fbs", b'attribute "%s";' % DEFAULT_ATTRIBUTE.encode())
"""Name and text of a file that what `with_default_attributes` returns includes besides."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_TOKEN: Final = re.compile(
    rb"""(?P<blank>\s+ | //[^\n]* | /\*.*?\*/)
       | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
       | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
       | (?P<number>[+-]?(?:0[xX][0-9a-fA-F.]+(?:[pP][+-]?[0-9]+)? | [0-9.]+(?:[eE][+-]?[0-9]+)?))
       | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int


@dataclass(slots=True)
class SourceFile:
    """A `.fbs` file as it was read.

    Attributes:
        path: Where it was found.
        text: What it holds.
        includes: Where in `text` the quoted names of the files stand that it includes, and which of the sources they
            are, by index; None: not found.
    """

    path: Path
    text: bytes
    includes: list[tuple[tuple[int, int], int | None]] = field(default_factory=list)


def read_sources(path: Path, include_dirs: Sequence[Path]) -> list[SourceFile]:
    """Reads a schema file and all that it includes, in the order in which flatc does, the file itself first.

    Args:
        path: The file.
        include_dirs: Where else to look for what is not beside the file that includes it.

    Raises:
        OSError: The file itself cannot be read. What is included and cannot be found is left for flatc to complain of.
    """
    sources = [SourceFile(path, path.read_bytes())]
    # flatc takes files of the same name and contents for one.
    known = {(path.name, sources[0].text): 0}
    waiting = [0]
    while waiting:
        source = sources[waiting.pop()]
        new = []
        for place, name in _included(source.text):
            found = _find(name, source.path.parent, [*include_dirs, path.parent])
            if found is None:
                source.includes.append((place, None))
                continue
            try:
                text = found.read_bytes()
            except OSError:
                source.includes.append((place, None))
                continue
            index = known.setdefault((found.name, text), len(sources))
            if index == len(sources):
                sources.append(SourceFile(found, text))
                new.append(index)
            source.includes.append((place, index))
        waiting.extend(reversed(new))
    return sources


def sources_key(sources: Sequence[SourceFile], salt: str) -> str:
    """A hash over the contents of all sources, which includes which, and a salt: 64 hex digits."""
    digest = hashlib.sha256(salt.encode())
    for source in sources:
        digest.update(b"\0file %d" % len(source.text))
        digest.update(source.text)
        for _, index in source.includes:
            digest.update(b"\0include %d" % (-1 if index is None else index))
    return digest.hexdigest()


def with_default_attributes(sources: Sequence[SourceFile]) -> list[bytes] | None:
    """The text of each source, lossy defaults repeated as attributes and includes renamed "0.fbs", "1.fbs" ...

    Returns:
        None if the compiled schema lacks no default, so that the sources may be compiled as they are.
    """
    # An enum's value can only be lost where one is large enough.
    names_too = any(b"ulong" in source.text or b"uint64" in source.text for source in sources)
    places = [[*_lossy_defaults(source.text, names_too)] for source in sources]
    if not any(places):
        return None
    texts = [_rewritten(source, found) for source, found in zip(sources, places, strict=True)]
    texts[0] = b'include "%s";\n' % DECLARATIONS[0].encode() + texts[0].removeprefix(_BYTE_ORDER_MARK)
    return texts


def _tokens(text: bytes) -> Iterator[_Token]:
    start = len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0
    for match in _TOKEN.finditer(text, start):
        if match.lastgroup != "blank":
            yield _Token(match.lastgroup or "", match[0], match.start(), match.end())


def _included(text: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    # Includes stand before everything else.
    tokens = _tokens(text)
    for token in tokens:
        if token.text not in (b"include", b"native_include"):
            return
        name, end = next(tokens, None), next(tokens, None)
        if name is None or name.kind != "string" or end is None:
            return
        if token.text == b"include":
            plain = name.text[1:-1].decode(errors="replace").replace("\\\\", "\\").replace("\\", "/")
            yield (name.start, name.end), plain


def _find(name: str, beside: Path, include_dirs: Sequence[Path]) -> Path | None:
    for folder in (beside, *include_dirs):
        try:
            if (folder / name).is_file():
                return folder / name
        except ValueError:  # a NUL in the name
            return None
    return None


def _lossy_defaults(text: bytes, names_too: bool) -> Iterator[tuple[int, bool, bytes]]:
    """Where to add an attribute (and whether there are others already), and the default as it stands."""
    tokens = [*_tokens(text)]
    for at, token in enumerate(tokens):
        if token.text != b"=" or token.kind != "sign":
            continue
        end = at + 1
        while end < len(tokens) and tokens[end].text not in (b";", b"(", b",", b"}"):
            end += 1
        value = tokens[at + 1 : end]
        # Enum values end with a comma or brace, and are not lost.
        if end == len(tokens) or not value or tokens[end].text not in (b";", b"("):
            continue
        has_attributes = tokens[end].text == b"("
        if has_attributes and value[-1].kind == "word" and value[-1].end == tokens[end].start:
            continue  # a function, such as rad(180)
        if _may_be_lost(value[0], names_too):
            literal = b"".join(each.text for each in value)
            yield (tokens[end].end if has_attributes else value[-1].end), has_attributes, literal


def _may_be_lost(first: _Token, names_too: bool) -> bool:
    match first.kind:
        case "string":
            return len(first.text) > 2
        case "number":
            # 2**63 has 19 digits, or 16 after "0x".
            return len(first.text) > 17 or re.match(rb"-[0.]+(?![0-9xX.])", first.text) is not None
        case "word":
            return names_too and first.text not in (b"true", b"false", b"null", b"nan", b"inf")
        case _:
            return False


def _rewritten(source: SourceFile, defaults: list[tuple[int, bool, bytes]]) -> bytes:
    edits: list[tuple[int, int, bytes]] = []
    for place, index in source.includes:
        if index is not None:
            edits.append((*place, b'"%d.fbs"' % index))
    for at, has_others, literal in defaults:
        quoted = literal if literal[:1] in (b'"', b"'") else b'"%s"' % literal
        attribute = b"%s: %s" % (DEFAULT_ATTRIBUTE.encode(), quoted)
        edits.append((at, at, b"%s, " % attribute if has_others else b" (%s)" % attribute))
    text = source.text
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text

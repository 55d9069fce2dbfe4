"""The one setting of a transport that a run may choose itself: what the transport `xdp` sends by."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lunar import config_file
from lunar_perf.work import Work


@contextmanager
def with_backend(work: Work, environment: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """Variables for a measured process, under which its transport `xdp` has the backend that the work asks for.

    All other settings are as they were: there is one settings file only, so it is written anew with that one changed.

    Args:
        work: what is to be measured; without a backend nothing changes.
        environment: what the process has beside our own variables.

    Yields:
        The variables; the file that they name goes with the block.

    Raises:
        ConfigError: the settings file in use is wrong.
    """
    if not work.backend:
        yield environment
        return
    settings = with_backend_set(config_file.load({**os.environ, **environment}).values, work.backend)
    with tempfile.NamedTemporaryFile("w", prefix="lunar-perf-", suffix=".toml", encoding="utf-8") as file:
        file.write(as_toml(settings))
        file.flush()
        yield {**environment, "LUNAR_CONFIG": file.name}


def with_backend_set(settings: Mapping[str, object], backend: str) -> dict[str, object]:
    """Settings as they are read from a file, with another backend of `xdp`."""
    transports = settings.get("transport", {})
    own = dict(transports) if isinstance(transports, Mapping) else {}
    xdp = own.get("xdp", {})
    own["xdp"] = {**(xdp if isinstance(xdp, Mapping) else {}), "backend": backend}
    return {**settings, "transport": own}


def as_toml(settings: Mapping[str, object]) -> str:
    """A file that is read back as these settings: a key a line, tables within it inline (TOML 1.0)."""
    return "".join(f"{_text(name)} = {_value(value)}\n" for name, value in settings.items())


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | os.PathLike():
            return _text(str(value))
        case Mapping():
            return "{" + ", ".join(f"{_text(str(name))} = {_value(each)}" for name, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_value(each) for each in value) + "]"
    return str(value)  # numbers, and times as they stand in a file


def _text(text: str) -> str:
    # A basic string of TOML is one of JSON, but that it may not have a bare DEL or half a surrogate pair.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

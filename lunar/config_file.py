"""The settings file, `lunar.toml`: where it is, what it says, and at which line it is wrong.

    domain = 7
    range = "network"
    interfaces = ["eth0"]
    peers = ["192.0.2.7"]
    pool_bytes = "512M"

    [transport.zmq]
    # what that transport's README says

It is the one that `LUNAR_CONFIG` names, else the nearest one from the working directory upwards, else
`$XDG_CONFIG_HOME/lunar/lunar.toml` (`~/.config` if that is not set). The first one counts; they are not merged.
A process reads a file once.

Anybody may put a file into a folder above the working directory, such as /tmp. So one that is found there is refused if
it is of another user than this process's or root, or if others may write to it. One that is named is trusted.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from lunar import setting_values
from lunar.errors import ConfigError, ConfigFileError

__all__ = ["FILE_NAME", "FileSettings", "load"]

FILE_NAME: Final = "lunar.toml"

_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "domain": setting_values.domain,
    "range": setting_values.range_,
    "interfaces": setting_values.interfaces,
    "peers": setting_values.peers,
    "pool_bytes": setting_values.pool_bytes,
    "transport": setting_values.transport,
}
# Text would do for them in the environment, where there is nothing else; in a file it is a slip.
_NO_TEXT: Final = {"domain": "a whole number, without quotes", "interfaces": "a list", "peers": "a list"}


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What a settings file says.

    Attributes:
        path: The file, or None if there is none.
        values: What it sets, by name, checked.
    """

    path: Path | None = None
    values: Mapping[str, object] = field(default_factory=dict)


def load(variables: Mapping[str, str]) -> FileSettings:
    """Finds the settings file and reads it.

    Args:
        variables: The environment: `LUNAR_CONFIG`, `XDG_CONFIG_HOME` and `HOME` count.

    Raises:
        ConfigError: `LUNAR_CONFIG` names no file that can be read.
        ConfigFileError: The file is wrong, and names every fault with its line; or somebody else's.
    """
    named = variables.get("LUNAR_CONFIG", "")
    if named:
        return _read(Path(os.path.abspath(named)))
    home = variables.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification says to ignore a relative path.
    if not os.path.isabs(home):
        home = os.path.join(variables.get("HOME", ""), ".config")
    try:
        path = _find(os.getcwd())
    except FileNotFoundError:  # the working directory was removed
        return FileSettings()
    if path is not None:
        return _read(path, of_anybody=False)
    own = Path(home, "lunar", FILE_NAME)
    return _read(own) if os.path.isabs(home) and _is_file(own) else FileSettings()


@lru_cache(maxsize=16)
def _find(folder: str) -> Path | None:
    places = [parent / FILE_NAME for parent in (Path(folder), *Path(folder).parents)]
    return next((path for path in places if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # a folder that this process may not look into, be it its user's home, is none of its own
        return False


@lru_cache(maxsize=16)
def _read(path: Path, *, of_anybody: bool = True) -> FileSettings:
    # Imported late: most processes have no such file.
    import tomllib

    try:
        with path.open("rb") as file:
            # Of the file that is open, and of a link that led to it: what it leads to may be right and yet not meant.
            why = "" if of_anybody else _why_not_trusted(os.fstat(file.fileno())) or _why_not_trusted(path.lstat())
            if why:
                fault = f"{path}: not used, because {why}; if it is meant, set LUNAR_CONFIG={path}"
                raise ConfigFileError(str(path), (fault,))
            text = file.read().decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigFileError(str(path), (f"{path}:{line}: it is not UTF-8",)) from error
    except OSError as error:
        raise ConfigError("LUNAR_CONFIG", str(path), f"a file that can be read ({error.strerror})") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", str(error))
        line = int(place[1]) if place and place[1] else text.count("\n") + 1
        reason = str(error)[: place.start()] if place else str(error)
        raise ConfigFileError(str(path), (f"{path}:{line}: {reason}",)) from error
    return FileSettings(path, _checked(path, table, text))


def _why_not_trusted(status: os.stat_result) -> str:
    """Why settings that were merely found may not be used, with the file's status; "" if they may."""
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to user {status.st_uid}, neither to this user ({os.geteuid()}) nor to root"
    if stat.S_ISLNK(status.st_mode):  # whose mode means nothing
        return ""
    # Many systems give each user a group of their own, and let it write to what they make.
    of_group = status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), 0)
    if status.st_mode & stat.S_IWOTH or of_group:
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o}, group {status.st_gid})"
    return ""


def _checked(path: Path, table: Mapping[str, object], text: str) -> Mapping[str, object]:
    values: dict[str, object] = {}
    faults: list[tuple[int, str]] = []
    for name, value in table.items():
        try:
            values[name] = _check(name, value)
        except ValueError as error:
            faults.append((_line_of(text, name), str(error)))
    if faults:
        raise ConfigFileError(str(path), tuple(f"{path}:{line}: {fault}" for line, fault in sorted(faults)))
    return values


def _check(name: str, value: object) -> object:
    if name not in _CHECKS:
        import difflib

        near = difflib.get_close_matches(name, _CHECKS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_CHECKS)}"
        raise ValueError(f"there is no setting {name}; {hint}")
    if name in _NO_TEXT and isinstance(value, str):
        raise ValueError(f"{name} = {value!r} is not valid; allowed: {_NO_TEXT[name]}")
    try:
        return _CHECKS[name](value)
    except ValueError as error:
        raise ValueError(f"{name} = {value!r} is not valid; allowed: {error}") from None


def _line_of(text: str, name: str) -> int:
    """The line at which a top-level key or table begins: tomllib does not tell. 1 if it is written in an odd way."""
    quoted = rf"[\"']?{re.escape(name)}[\"']?"
    begins = re.compile(rf"\s*(?:\[\[?\s*{quoted}\s*[.\]]|{quoted}\s*[.=])")
    in_table = False
    for number, line in enumerate(text.splitlines(), 1):
        is_header = line.lstrip().startswith("[")
        if begins.match(line) and (is_header or not in_table):
            return number
        # A line of an array may begin with a bracket too, but not with a bracket and a name.
        in_table = in_table or re.match(r"\s*\[\[?\s*[A-Za-z_]", line) is not None
    return 1

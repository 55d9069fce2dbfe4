"""What the environment says: domain, runtime directory, group and pool limit.

| variable          | meaning                                                | default                          |
|-------------------|--------------------------------------------------------|----------------------------------|
| LUNAR_DOMAIN      | keeps systems apart, 0 to 232 (DDS's range)            | 0                                |
| LUNAR_RUNTIME_DIR | where processes find each other, an absolute path      | $XDG_RUNTIME_DIR/lunar, else     |
|                   |                                                        | /tmp/lunar-<uid>                 |
| LUNAR_GROUP       | group, by name or number, that may join as well        | none: this user only             |
| LUNAR_POOL_BYTES  | most memory a publisher's pool may take ("512M", "1G") | 1G                               |

A variable that is set to nothing counts as not set. Nothing is created or opened here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lunar.errors import ConfigError

__all__ = ["DEFAULT_POOL_BYTES", "MAX_DOMAIN", "Config", "default_runtime_dir"]

MAX_DOMAIN: Final = 232
"""The highest domain whose DDS discovery port, 7400 + 250 * domain, fits into 16 bits."""

DEFAULT_POOL_BYTES: Final = 2**30
"""The limit of a publisher's pool, in bytes, where nothing else is said."""

_MIN_POOL_BYTES: Final = 2**16
_MAX_POOL_BYTES: Final = 2**44
_POOL_ALLOWED: Final = "bytes from 64K to 16T; K, M, G and T stand for powers of 1024"
_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGT]?)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of this process.

    Attributes:
        domain: 0 to `MAX_DOMAIN`.
        runtime_dir: Absolute path of the folder where the processes find each other.
        group: Id of the group that may join besides this user, or None.
        pool_bytes: Most bytes that one publisher's pool may take.
    """

    domain: int
    runtime_dir: Path
    group: int | None
    pool_bytes: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Reads the settings.

        Args:
            environ: Variables by name; None stands for those of this process.

        Raises:
            ConfigError: A variable has a value that cannot be used.
        """
        variables = os.environ if environ is None else environ
        return cls(
            domain=_domain(variables),
            runtime_dir=_runtime_dir(variables),
            group=_group(variables),
            pool_bytes=_pool_bytes(variables),
        )


def _domain(variables: Mapping[str, str]) -> int:
    text = variables.get("LUNAR_DOMAIN", "")
    if not text:
        return 0
    # int() alone would also take "+1", " 1", "1_0" and digits of other scripts.
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or int(text) > MAX_DOMAIN:
        raise ConfigError("LUNAR_DOMAIN", text, f"a whole number from 0 to {MAX_DOMAIN}")
    return int(text)


def _runtime_dir(variables: Mapping[str, str]) -> Path:
    own = variables.get("LUNAR_RUNTIME_DIR", "")
    if own:
        # Relative, it would be another folder for each working directory: nobody would meet.
        if not os.path.isabs(own):
            raise ConfigError("LUNAR_RUNTIME_DIR", own, "an absolute path")
        return Path(own)
    session = variables.get("XDG_RUNTIME_DIR", "")
    # The XDG base directory specification says to ignore a relative path.
    if os.path.isabs(session):
        return Path(session) / "lunar"
    return default_runtime_dir()


def default_runtime_dir() -> Path:
    """Where processes meet if nothing else is said. Anybody can make folders there, so whose it is must be checked."""
    return Path(f"/tmp/lunar-{os.geteuid()}")


def _group(variables: Mapping[str, str]) -> int | None:
    text = variables.get("LUNAR_GROUP", "")
    if not text:
        return None
    # The default folders belong to one user each, so the group's members would never meet in them.
    if not variables.get("LUNAR_RUNTIME_DIR"):
        allowed = "only together with LUNAR_RUNTIME_DIR, a folder that the group's members can reach"
        raise ConfigError("LUNAR_GROUP", text, allowed)
    if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        # The highest number is the kernel's "no group" (chown leaves the group as it is).
        if int(text) >= 2**32 - 1:
            raise ConfigError("LUNAR_GROUP", text, "a group id from 0 to 4294967294")
        return int(text)
    # Imported late: most processes never need it.
    import grp

    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ConfigError("LUNAR_GROUP", text, "a group of this host, by name or number") from None


def _pool_bytes(variables: Mapping[str, str]) -> int:
    text = variables.get("LUNAR_POOL_BYTES", "")
    if not text:
        return DEFAULT_POOL_BYTES
    parts = _SIZE.fullmatch(text)
    size_bytes = int(parts[1]) * _UNITS[parts[2].upper()] if parts else 0
    if not _MIN_POOL_BYTES <= size_bytes <= _MAX_POOL_BYTES:
        raise ConfigError("LUNAR_POOL_BYTES", text, _POOL_ALLOWED)
    return size_bytes

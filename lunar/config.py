"""What the environment and the settings file say.

| variable          | in lunar.toml | meaning                                                | default              |
|-------------------|---------------|--------------------------------------------------------|----------------------|
| LUNAR_DOMAIN      | domain        | keeps systems apart, 0 to 232 (DDS's range)            | 0                    |
| LUNAR_RANGE       | range         | how far nodes are seen: host or network                | host                 |
| LUNAR_INTERFACES  | interfaces    | names or addresses of the interfaces to use            | all that are up but  |
|                   |               |                                                        | the loopback one     |
| LUNAR_PEERS       | peers         | hosts to ask where multicast does not reach            | none                 |
| LUNAR_POOL_BYTES  | pool_bytes    | most memory a publisher's pool may take ("512M", "1G") | 1G                   |
|                   | transport     | a table of settings for each transport                 | none                 |
| LUNAR_RUNTIME_DIR |               | where processes find each other, an absolute path      | $XDG_RUNTIME_DIR/    |
|                   |               |                                                        | lunar, else          |
|                   |               |                                                        | /tmp/lunar-<uid>     |
| LUNAR_GROUP       |               | group, by name or number, that may join as well        | none: this user only |
| LUNAR_CONFIG      |               | the settings file                                      | see `config_file`    |

Lists are separated by commas in a variable. A variable that is set to nothing counts as not set. What the environment
says counts more than what the file says. Nothing is created here, and nothing opened but the settings file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lunar import config_file, setting_values
from lunar.errors import ConfigError
from lunar.setting_values import DEFAULT_POOL_BYTES, MAX_DOMAIN, Range

__all__ = ["DEFAULT_POOL_BYTES", "MAX_DOMAIN", "Config", "Range", "checked", "default_runtime_dir"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of this process.

    Attributes:
        domain: 0 to `MAX_DOMAIN`.
        runtime_dir: Absolute path of the folder where the processes find each other.
        group: Id of the group that may join besides this user, or None.
        pool_bytes: Most bytes that one publisher's pool may take.
        range: How far nodes are seen.
        interfaces: Names or addresses as given, see `lunar.interfaces.usable`; empty means all.
        peers: Addresses or names of hosts.
        transport_settings: What is said for each transport, by its name; unchecked.
    """

    domain: int
    runtime_dir: Path
    group: int | None
    pool_bytes: int
    range: Range = "host"
    interfaces: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    transport_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict, hash=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Reads the settings.

        Args:
            environ: Variables by name; None stands for those of this process.

        Raises:
            ConfigError: A variable has a value that cannot be used.
            ConfigFileError: The settings file is wrong, likewise a ConfigError; all its faults are named.
        """
        variables = os.environ if environ is None else environ
        in_file = config_file.load(variables).values

        def get(name: str, check: Callable[[object], T], default: object) -> T:
            variable = f"LUNAR_{name.upper()}"
            text = variables.get(variable, "")
            return checked(variable, check, text) if text else check(in_file.get(name, default))

        return cls(
            domain=get("domain", setting_values.domain, 0),
            runtime_dir=_runtime_dir(variables),
            group=_group(variables),
            pool_bytes=get("pool_bytes", setting_values.pool_bytes, DEFAULT_POOL_BYTES),
            range=get("range", setting_values.range_, "host"),
            interfaces=get("interfaces", setting_values.interfaces, ()),
            peers=get("peers", setting_values.peers, ()),
            transport_settings=setting_values.transport(in_file.get("transport", {})),
        )


def checked(variable: str, check: Callable[[object], T], value: object) -> T:
    """Checks a value with a function of `setting_values`.

    Raises:
        ConfigError: It is not allowed.
    """
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(variable, str(value), str(error)) from None


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

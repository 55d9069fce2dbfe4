"""What `lunar doctor` checks of Lunar itself: settings, runtime directory, native core, transports and peers.

Each function is one examination.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lunar import config_file
from lunar.cli.diagnosis import Check, Examination
from lunar.cli.host_checks import check_memory
from lunar.cli.quantities import format_bytes, plural
from lunar.config import Config
from lunar.errors import ConfigError, ConfigFileError, LunarError

if TYPE_CHECKING:
    from lunar.abc import Transport

_SETTINGS = (
    "LUNAR_DOMAIN",
    "LUNAR_RUNTIME_DIR",
    "LUNAR_GROUP",
    "LUNAR_POOL_BYTES",
    "LUNAR_RANGE",
    "LUNAR_INTERFACES",
    "LUNAR_PEERS",
)
_ALSO_KNOWN = ("LUNAR_CONFIG", "LUNAR_FLATC")
_BUILD_SETTINGS = ("LUNAR_ABI3", "LUNAR_WERROR", "LUNAR_SANITIZE", "LUNAR_SANITIZED")


def check_settings(environ: Mapping[str, str] | None = None) -> Iterator[Check]:
    """Checks every LUNAR_* variable: its value, where that comes from, and whether it is valid and known.

    Args:
        environ: Variables by name; by default those of this process.
    """
    variables = dict(os.environ if environ is None else environ)
    given = {name for name in _SETTINGS if variables.get(name)}
    config, faults = _valid_config(variables)
    yield from faults
    values = {
        "LUNAR_DOMAIN": str(config.domain),
        "LUNAR_RUNTIME_DIR": str(config.runtime_dir),
        "LUNAR_GROUP": "none, this user only" if config.group is None else str(config.group),
        "LUNAR_POOL_BYTES": format_bytes(config.pool_bytes),
        "LUNAR_RANGE": config.range,
        "LUNAR_INTERFACES": ", ".join(config.interfaces) or "all that are up, but the loopback one",
        "LUNAR_PEERS": ", ".join(config.peers) or "none",
    }
    in_file = {} if faults else _file_sources(variables)
    at_fault = {check.name for check in faults}
    for name in _SETTINGS:
        if name not in at_fault:
            source = "environment" if name in given else in_file.get(name) or _default_source(name)
            yield Check(name, "ok", f"{values[name]} ({source})")
    for name in sorted(variables):
        if name.startswith("LUNAR_") and name not in (*_SETTINGS, *_ALSO_KNOWN, *_BUILD_SETTINGS):
            near = difflib.get_close_matches(name, _SETTINGS, n=1, cutoff=0.8)
            remedy = f"did you mean {near[0]}?" if near else "unset it"
            yield Check(name, "warning", "is set, but there is no such setting", remedy)


def _valid_config(variables: Mapping[str, str]) -> tuple[Config, list[Check]]:
    """Reads the settings, leaving out those that are not valid."""
    remaining = dict(variables)
    faults: list[Check] = []
    while True:
        try:
            return Config.from_environment(remaining), faults
        except ConfigFileError as error:
            faults += [Check("settings file", "failed", fault, "correct that line") for fault in error.faults]
            remaining["LUNAR_CONFIG"] = os.devnull
        except ConfigError as error:
            faults.append(
                Check(error.variable, "failed", f"{error.value!r} is not valid", f"set it to {error.allowed}")
            )
            del remaining[error.variable]


def _file_sources(variables: Mapping[str, str]) -> dict[str, str]:
    """Names the settings file for each setting that stands in it."""
    settings = config_file.load(variables)
    return {f"LUNAR_{name.upper()}": str(settings.path) for name in settings.values}


def _default_source(name: str) -> str:
    if name == "LUNAR_RUNTIME_DIR":
        return "from XDG_RUNTIME_DIR" if os.environ.get("XDG_RUNTIME_DIR") else "default, XDG_RUNTIME_DIR is not set"
    return "default"


def check_pool() -> Iterator[Check]:
    """Checks that a publisher's pool fits into the memory that is free."""
    config, _ = _valid_config(os.environ)
    return check_memory(config.pool_bytes)


def check_runtime_dir(config: Config | None = None) -> Iterator[Check]:
    """Checks the folder where processes find each other: who owns it, who may enter, and what lies in it.

    Args:
        config: The settings; by default those of this process.
    """
    config = _valid_config(os.environ)[0] if config is None else config
    path = config.runtime_dir
    name = "runtime directory"
    try:
        status = path.stat()
    except FileNotFoundError:
        yield _creatable(name, path)
        return
    except OSError as error:
        yield Check(name, "failed", f"{path}: {error.strerror}", "set LUNAR_RUNTIME_DIR to a folder of your own")
        return
    yield _access(name, path, status, config.group)
    yield from _sockets(path / str(config.domain))


def _creatable(name: str, path: Path) -> Check:
    parent = next(folder for folder in path.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Check(name, "ok", f"{path} does not exist yet; the first node makes it")
    remedy = "set LUNAR_RUNTIME_DIR to a folder that you can write to"
    return Check(name, "failed", f"{path} does not exist and {parent} is not writable", remedy)


def _access(name: str, path: Path, status: os.stat_result, group: int | None) -> Check:
    mode = stat.S_IMODE(status.st_mode)
    text = f"{path}, mode {mode:04o}, owner {status.st_uid}, group {status.st_gid}"
    own = "set LUNAR_RUNTIME_DIR to a folder of your own"
    if not stat.S_ISDIR(status.st_mode):
        return Check(name, "failed", f"{path} is not a directory", f"remove it, or {own}")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check(name, "failed", f"{text}: not writable for you", own)
    # Whoever may write here may pose as anybody's process, so the bus refuses such a folder, and so do we.
    if group is None and os.geteuid() not in (0, status.st_uid):
        return Check(name, "failed", f"{text}: belongs to another user", f"{own}, or LUNAR_GROUP to share it")
    if group is not None and status.st_gid != group:
        return Check(name, "failed", f"{text}: is not of the group {group}", f"chgrp {group} {path}")
    if mode & (stat.S_IWOTH if group is not None else stat.S_IWOTH | stat.S_IWGRP):
        return Check(name, "failed", f"{text}: others may write to it", f"chmod {_right_mode(group)} {path}")
    if mode & (stat.S_IRWXO if group is not None else stat.S_IRWXO | stat.S_IRWXG):
        return Check(name, "warning", f"{text}: others can see who is in it", f"chmod {_right_mode(group)} {path}")
    return Check(name, "ok", text)


def _right_mode(group: int | None) -> str:
    return "0700" if group is None else "2770"


def _sockets(path: Path) -> Iterator[Check]:
    """Looks for sockets that nobody listens on any more, left by a process that was killed."""
    sockets = [entry for entry in path.iterdir() if entry.is_socket()] if path.is_dir() else []
    stale = [entry for entry in sockets if not _is_listening(entry)]
    text = f"{plural(len(sockets) - len(stale), 'process', 'processes')} present"
    if stale:
        yield Check("socket files", "warning", f"{text}; {len(stale)} left behind", "none: the next node removes them")
    else:
        yield Check("socket files", "ok", f"{text}, none left behind")


def _is_listening(path: Path) -> bool:
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as link:
            # By this way round, because an address has room for 107 bytes only.
            link.connect(f"/proc/self/fd/{descriptor}/{path.name}")
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:  # it does not accept now, or not us
        return True
    finally:
        os.close(descriptor)
    return True


def check_native() -> Iterator[Check]:
    """Checks that the C core is built for this interpreter, and tells its version."""
    remedy = "reinstall lunar-mom for this interpreter (in a checkout: make dev)"
    try:
        from lunar._native import _bus, control
    except ImportError as error:
        yield Check("native core", "failed", str(error), remedy)
        return
    kind = "limited API" if ".abi3." in (_bus.__file__ or "") else sys.implementation.cache_tag
    yield Check("native core", "ok", f"{kind}, shared-memory layout {control.LAYOUT_VERSION}")


def check_transports() -> Iterator[Check]:
    """Checks each transport that is installed: whether it can be imported, and what its probe says."""
    entries = importlib.metadata.entry_points(group="lunar.transports")
    if not entries:
        remedy = "reinstall lunar-mom: the transport shm is part of it"
        yield Check("transports", "failed", "none is installed", remedy)
    for entry in sorted(entries, key=lambda entry: entry.name):
        name = f"transport {entry.name}"
        try:
            transport: Transport = entry.load()()
            probe = transport.probe()
        except Exception as error:  # noqa: BLE001 - anybody may have written it
            yield Check(name, "failed", f"{entry.value}: {type(error).__name__}: {error}", "repair or uninstall it")
            continue
        if probe.ok:
            yield Check(name, "ok", _describe(transport))
        else:
            yield Check(name, "failed", probe.reason, probe.remedy)


def _describe(transport: Transport) -> str:
    can = transport.capabilities
    traits = {
        "zero-copy": can.zero_copy,
        "reliable": can.reliable,
        "multicast": can.multicast,
        "time-triggered": can.time_triggered,
        "encrypted": can.encrypted,
        "kernel bypass": can.kernel_bypass,
    }
    return ", ".join([f"reach {can.reach}", *(trait for trait, has in traits.items() if has)])


def check_peers() -> Iterator[Check]:
    """Checks that every process in the runtime directory answers."""
    from lunar import graph_snapshot

    remedy = "look at that process: it hangs, or it runs another version of Lunar"
    try:
        snapshot = graph_snapshot()
    except LunarError as error:
        yield Check("peers", "failed", str(error), "see the checks above")
        return
    processes = len({node.pid for node in snapshot.nodes})
    yield Check("peers", "ok", f"{plural(len(snapshot.nodes), 'node')} in {plural(processes, 'process', 'processes')}")
    for reason in snapshot.unreachable:
        yield Check("peers", "warning", reason, remedy)


EXAMINATIONS: tuple[tuple[str, Examination], ...] = (
    ("memory", check_pool),
    ("settings", check_settings),
    ("runtime directory", check_runtime_dir),
    ("native core", check_native),
    ("transports", check_transports),
    ("peers", check_peers),
)
"""The examinations of this module, in the order of their report."""

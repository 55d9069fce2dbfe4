"""Network namespaces: made, entered by a thread of one's own, and removed.

The kernel keeps the network namespace for each *thread*. So a thread that was started for nothing else enters one,
does there what is to be done (a socket or a process that is made there stays there), and ends. Nobody else is moved.

A namespace has a name as those of `ip netns` have: a file in /run/netns on which it is mounted.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

__all__ = ["FOLDER", "call_in", "create", "names", "path_of", "remove"]

R = TypeVar("R")

FOLDER: Final = Path("/run/netns")
"""Where `ip netns` and this module keep the names."""

_CLONE_NEWNET: Final = 0x40000000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SHARED: Final = 1 << 20
_MNT_DETACH: Final = 2

# os.setns and os.unshare are there from Python 3.12 on; mount never.
_libc: Final = ctypes.CDLL(None, use_errno=True)


def path_of(name: str) -> Path:
    """The file on which a namespace is mounted: what nsenter's `--net=` takes."""
    return FOLDER / name


def names() -> list[str]:
    """The names of all namespaces of this host that have one, whoever made them."""
    try:
        return sorted(os.listdir(FOLDER))
    except FileNotFoundError:
        return []


def create(name: str) -> None:
    """Makes a namespace. It lasts until `remove`, and then until the last process or socket in it has ended.

    Raises:
        OSError: The name is taken, or this process may not do it.
    """
    _share_folder()
    path = path_of(name)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
    try:
        _in_thread(lambda: _unshare_and_mount(path))
    except BaseException:
        path.unlink()
        raise


def remove(name: str) -> None:
    """Takes a namespace's name away; nothing happens if there is none of that name.

    Raises:
        OSError: This process may not do it.
    """
    path = path_of(name)
    try:
        _checked(_libc.umount2(os.fsencode(path), _MNT_DETACH), f"unmounting {path}")
    except FileNotFoundError:
        return
    except OSError:
        # A file that was never mounted upon: its maker was killed in between.
        if os.path.ismount(path):
            raise
    path.unlink(missing_ok=True)


def call_in(name: str, function: Callable[[], R]) -> R:
    """Calls a function in a thread inside a namespace, and returns what it returned or raises what it raised.

    Raises:
        OSError: There is no such namespace, or this process may not enter it.
    """

    def call() -> R:
        descriptor = os.open(path_of(name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _checked(_libc.setns(descriptor, _CLONE_NEWNET), f"entering {name}")
        finally:
            os.close(descriptor)
        return function()

    return _in_thread(call)


def _share_folder() -> None:
    """Makes the folder a mount that other mount namespaces see, as `ip netns add` does; the first time only."""
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    folder = os.fsencode(FOLDER)
    if _libc.mount(b"", folder, b"none", _MS_SHARED | _MS_REC, None) != 0:
        _checked(_libc.mount(folder, folder, b"none", _MS_BIND | _MS_REC, None), f"mounting {FOLDER}")
        _checked(_libc.mount(b"", folder, b"none", _MS_SHARED | _MS_REC, None), f"sharing {FOLDER}")


def _unshare_and_mount(path: Path) -> None:
    _checked(_libc.unshare(_CLONE_NEWNET), "making a network namespace")
    own = f"/proc/self/task/{threading.get_native_id()}/ns/net".encode()
    _checked(_libc.mount(own, os.fsencode(path), b"none", _MS_BIND, None), f"mounting {path}")


def _checked(result: int, doing: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{doing}: {os.strerror(code)}")


def _in_thread(function: Callable[[], R]) -> R:
    """Runs it in a thread that ends with it: what it does to its thread is done to nobody else."""
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="in a network namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

"""Where the processes of a host meet: a directory of Unix sockets, one a process.

A process binds its socket under a hidden name and renames it once it listens, so a socket that can be seen accepts.
Then it looks who else is there. Names begin with the time of binding: of two processes the later one connects to the
earlier, so each pair makes exactly one link. Should the later one have been seen first, because the earlier took longer
to appear, the earlier nudges it to look again. So nobody has to watch the directory, and of any two processes the one
that appears last sees the other.

Addresses go through /proc/self/fd, so the length of the directory's path does not matter (a Unix address has
108 bytes).
"""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import time
from typing import TYPE_CHECKING, TypeGuard

from lunar._native.control import peer_groups
from lunar.config import default_runtime_dir
from lunar.errors import ConfigError, LunarError, ResourceExhausted, from_errno

if TYPE_CHECKING:
    from lunar.config import Config

__all__ = ["Rendezvous", "is_socket_name"]

_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{32})\.sock", re.ASCII)
_BACKLOG = 1024
_TRIES = 5


def is_socket_name(name: object) -> TypeGuard[str]:
    """Tells whether a value, which a peer may have sent, is a name that a participant's socket can have."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


class Rendezvous:
    """This process's place in the runtime directory.

    Args:
        config: Runtime directory, domain and group.
        participant_id: 32 hex digits.

    Raises:
        ConfigError: The directory cannot be used: not ours, open to others, not writable.
        ResourceExhausted: A limit of descriptors was reached.

    Attributes:
        name: Our socket's file name.
        listener: The listening socket, non-blocking.
    """

    def __init__(self, config: Config, participant_id: str) -> None:
        self._group = config.group
        self.directory = config.runtime_dir / str(config.domain)
        self._prepare(config)
        self._dir_fd = -1
        try:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise from_errno(-(error.errno or errno.EIO), "make a socket to meet other processes") from error
        self.name = f"{time.monotonic_ns():016x}-{participant_id}.sock"
        try:
            self._dir_fd = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._owner = os.stat(self.directory).st_uid
            self._listen()
        except OSError as error:
            self.close()
            raise from_errno(-(error.errno or errno.EIO), f"appear in {self.directory}") from error
        except BaseException:
            self.close()
            raise

    def _prepare(self, config: Config) -> None:
        # Sticky: a member of the group cannot take away or replace what another one has made.
        mode = 0o700 if self._group is None else 0o3770
        for path in (config.runtime_dir, self.directory):
            try:
                path.mkdir(mode=mode, parents=True)
                if self._group is not None:
                    os.chown(path, -1, self._group)
                os.chmod(path, mode)
            except FileExistsError:
                self._check(str(path))
            except OSError as error:
                raise _unusable(str(path), f"it cannot be made: {error.strerror}") from error

    def _check(self, path: str) -> None:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise _unusable(path, "it is not a directory")
        open_to = status.st_mode & 0o077
        if self._group is None:
            # Root may look into another user's domain, but only if it was told to: the default place of its own may be
            # a trap that somebody has made first.
            trusted = os.geteuid() == 0 and path != str(default_runtime_dir())
            if status.st_uid != os.geteuid() and not trusted:
                raise _unusable(path, f"it belongs to user {status.st_uid}")
            if open_to & 0o022:
                raise _unusable(path, f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})")
        elif status.st_gid != self._group or open_to & 0o002:
            raise _unusable(path, f"it is not of group {self._group} alone")
        if not os.access(path, os.W_OK | os.X_OK):
            raise _unusable(path, "it is not writable")

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._dir_fd}/{name}"

    def _listen(self) -> None:
        """Appears. A hidden socket may be taken for a dead one before its binding is complete: once more, then."""
        for _ in range(_TRIES):
            try:
                self._listen_once()
                return
            except FileNotFoundError:
                self.listener.close()
                self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        raise _unusable(str(self.directory), "what is made in it disappears")

    def _listen_once(self) -> None:
        hidden = f".{self.name}"
        try:
            self.listener.bind(self._address(hidden))
        except OSError as error:
            raise _unusable(str(self.directory), f"no socket can be made in it: {error.strerror}") from error
        if self._group is not None:
            os.chown(self._address(hidden), -1, self._group)
        os.chmod(self._address(hidden), 0o600 if self._group is None else 0o660)
        self.listener.listen(_BACKLOG)
        os.rename(self._address(hidden), self._address(self.name))

    def others(self) -> list[str]:
        """Returns the names of the other sockets that are there now.

        Raises:
            ResourceExhausted: No descriptor is left to read the directory with.
            LunarError: The directory is gone.
        """
        return sorted(entry for entry in self._entries() if entry != self.name and _NAME.fullmatch(entry))

    def _entries(self) -> list[str]:
        try:
            return os.listdir(self.directory)
        except OSError as error:
            raise from_errno(-(error.errno or errno.EIO), f"look who is in {self.directory}") from error

    def remove_abandoned(self) -> None:
        """Removes hidden sockets of processes that were killed before they appeared; raises as `others`."""
        for entry in self._entries():
            if entry.startswith(".") and entry != f".{self.name}" and _NAME.fullmatch(entry[1:]):
                self.remove_if_dead(entry)

    def is_ours_to_connect(self, name: str) -> bool:
        """Tells which side makes the link: the one that came later."""
        return name < self.name

    def connect(self, name: str) -> socket.socket | None:
        """Connects to a process; None if it is gone, and then its socket file is, too.

        Raises:
            BlockingIOError: It lives but does not accept now; try again.
            ResourceExhausted: A limit of descriptors was reached.
        """
        try:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise ResourceExhausted(f"cannot connect to a peer: {error.strerror}") from error
        try:
            link.connect(self._address(name))
        except OSError as error:
            link.close()
            if error.errno == errno.EAGAIN:
                raise BlockingIOError(error.errno, error.strerror) from error
            if error.errno == errno.ECONNREFUSED:
                self.remove(name)
                return None
            if error.errno in (errno.ENOENT, errno.EPROTOTYPE):  # gone, or none of ours
                return None
            raise LunarError(f"cannot connect to {self.directory / name}: {error.strerror}") from error
        return link

    def remove_if_dead(self, name: str) -> bool:
        """Removes a socket file whose process is gone; returns whether it is.

        Asks with a socket of the wrong type, which is refused as such while anybody holds the other one, listening or
        not, and which that process does not notice.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(self._address(name))
        except ConnectionRefusedError:
            self.remove(name)
            return True
        except OSError as error:
            return error.errno == errno.ENOENT
        return False

    def remove(self, name: str) -> None:
        """Removes a socket file; it may be gone already."""
        try:
            os.unlink(self._address(name))
        except OSError:
            return

    def may_join(self, link: socket.socket) -> tuple[int, int, bool]:
        """Asks the kernel who is at the other end: process id, user id, and whether that user may join."""
        raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = (int.from_bytes(raw[i : i + 4], "little", signed=i == 0) for i in (0, 4, 8))
        # The directory's owner is somebody else only if we are root: then it is that user's domain that we look into.
        if uid in (os.geteuid(), 0, self._owner):
            return pid, uid, True
        if self._group is None:
            return pid, uid, False
        return pid, uid, gid == self._group or self._group in peer_groups(link.fileno())

    def close(self) -> None:
        """Takes our socket away and closes the descriptors; a second call does nothing."""
        if self._dir_fd >= 0:
            self.remove(self.name)
            self.remove(f".{self.name}")
        self.close_descriptors()

    def close_descriptors(self) -> None:
        """Closes the descriptors and leaves the directory alone (a forked child does)."""
        self.listener.close()
        if self._dir_fd >= 0:
            os.close(self._dir_fd)
        self._dir_fd = -1


def _unusable(path: str, why: str) -> ConfigError:
    return ConfigError("LUNAR_RUNTIME_DIR", path, f"a directory that this user can write to and nobody else ({why})")

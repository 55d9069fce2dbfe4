"""CURVE keys: made, loaded, and who is let in.

A directory holds `secret.key` (mode 0600), `public.key`, and `allowed/*.key`, one public key of somebody else a file.
Each key is 40 characters of Z85 on a line of its own; lines that begin with # are comments. Whoever has the same secret
is let in without being listed: it is the same user.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq

from lunar import abc
from lunar.errors import ConfigError, TransportUnavailable
from lunar_zmq.settings import Settings, is_key

__all__ = ["AllowList", "KeyPair", "Keys", "load_keys", "make_keys"]

_RELOAD_EVERY_S: Final = 1.0
_MAX_FILE_BYTES: Final = 4096
_NAME: Final = re.compile(r"[0-9A-Za-z_@-][0-9A-Za-z._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair in Z85.

    Attributes:
        public: To be told to others.
        secret: Kept, and never shown.
    """

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r})"


def make_keys(directory: Path) -> str:
    """Makes a key pair in a directory, which is made too.

    Returns:
        The public key.

    Raises:
        FileExistsError: There is a secret key already; it is left alone.
        OSError: It cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "allowed").mkdir(mode=0o700, exist_ok=True)
    public, secret = _new_pair()
    # Never readable by others, not even for a moment, and never over one that is in use.
    fd = os.open(directory / "secret.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(f"# The secret key of Lunar's transport zmq. Show it to nobody.\n{secret}\n")
    (directory / "public.key").write_text(f"{public}\n")
    return public


def _new_pair() -> tuple[str, str]:
    """A pair whose public key no command line takes for an option."""
    while True:
        pair: tuple[bytes, bytes] = zmq.curve_keypair()
        public, secret = (key.decode() for key in pair)
        if public[0].isalnum():
            return public, secret


def load_keys(directory: Path) -> KeyPair:
    """Loads the key pair of a directory.

    Raises:
        TransportUnavailable: There is none, it cannot be read, or others than its owner can read it.
    """
    path = directory / "secret.key"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(fd) as file:
            status = os.fstat(file.fileno())
            text = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        remedy = "make one with `lunar keys make`, or set `curve = false` where the network is trusted"
        raise TransportUnavailable("zmq", f"there is no key in {directory}", remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TransportUnavailable("zmq", f"{path} cannot be read: {error}", "make it readable for you") from error
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
        reason = f"{path} can be read by others, or is somebody else's"
        raise TransportUnavailable("zmq", reason, f"chmod 600 {path}, and make new keys if others may have read it")
    secret = _only_key(text)
    if secret is None:
        raise TransportUnavailable("zmq", f"{path} holds no key", "remove it and make a new one with `lunar keys make`")
    return KeyPair(zmq.curve_public(secret.encode()).decode(), secret)


class AllowList:
    """The public keys that are let in.

    Args:
        own: This process's own, always let in.
        listed: What the configuration lists.
        directory: Where `allowed/*.key` are; read again, once a second at most, when a key is met that is not known.
    """

    __slots__ = ("_directory", "_fixed", "_loaded", "_reload_after_s")

    def __init__(self, own: str, listed: Iterable[str], directory: Path) -> None:
        self._fixed = frozenset({own, *listed})
        self._directory = directory / "allowed"
        self._loaded: frozenset[str] = frozenset()
        self._reload_after_s = float("-inf")

    def allows(self, key: str, now_s: float) -> bool:
        """Says whether a key is let in."""
        if key in self._fixed or key in self._loaded:
            return True
        if now_s < self._reload_after_s:
            return False
        self._reload_after_s = now_s + _RELOAD_EVERY_S
        self._loaded = frozenset(key for _, key in _listed(self._directory))
        return key in self._loaded


class Keys(abc.KeyRing):
    """What `lunar keys` works on: the directory, and what the configuration lists beside it.

    Args:
        settings: What the configuration says.
    """

    __slots__ = ("_settings",)

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def directory(self) -> Path:
        """Where the keys are kept."""
        return self._settings.keys

    @property
    def required(self) -> bool:
        """Whether connections are encrypted and only listed keys let in."""
        return self._settings.curve

    def make(self) -> str:
        """Makes a key pair, which nobody else can read."""
        return make_keys(self.directory)

    def public(self) -> str:
        """Returns the public key."""
        return load_keys(self.directory).public

    def allow(self, key: str, name: str) -> abc.AllowedKey:
        """Lists a key, in a file of its own."""
        if not is_key(key):
            raise ConfigError("key", key, "a public key: 40 characters of Z85, as `lunar keys show` prints it")
        if _NAME.fullmatch(name) is None:
            allowed = "1 to 64 letters, digits, '.', '_', '-' or '@', not beginning with a dot"
            raise ConfigError("name", name, allowed)
        known = dict(_listed(self.directory / "allowed"))
        path = self.directory / "allowed" / f"{name}.key"
        if known.get(path) != key:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Under another name first: who reads the list meanwhile never sees half a key.
            new = path.with_suffix(f".new-{os.getpid()}")
            new.write_text(f"{key}\n")
            try:
                os.link(new, path)
            finally:
                new.unlink()
        return abc.AllowedKey(key, name, str(path))

    def allowed(self) -> list[abc.AllowedKey]:
        """Returns the keys that are listed."""
        in_files = [abc.AllowedKey(key, path.stem, str(path)) for path, key in _listed(self.directory / "allowed")]
        return in_files + [abc.AllowedKey(key, "", "transport.zmq.allowed") for key in self._settings.allowed]


def _listed(directory: Path) -> Iterable[tuple[Path, str]]:
    for path in sorted(directory.glob("*.key")):
        try:
            with path.open() as file:
                key = _only_key(file.read(_MAX_FILE_BYTES))
        except (OSError, UnicodeDecodeError):
            continue  # one file that cannot be read locks out one key
        if key is not None:
            yield path, key


def _only_key(text: str) -> str | None:
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith("# ") and line != "#"]
    return keys[0] if len(keys) == 1 and is_key(keys[0]) else None

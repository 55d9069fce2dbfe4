"""`lunar keys make`, `show`, `allow` and `list`: what they do with the keys of a transport."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from lunar.abc import HasKeys
from lunar.cli import exit_codes
from lunar.cli.output import Table, write_error, write_json, write_line, write_note, write_table
from lunar.config import Config
from lunar.errors import ConfigError, TransportUnavailable
from lunar.graph.network.surroundings import load_transports

if TYPE_CHECKING:
    from collections.abc import Callable

    from lunar.abc import KeyRing


def key_rings() -> dict[str, Callable[[], KeyRing]]:
    """What opens the keys of each transport that has some, by the transport's name."""
    config = Config.from_environment()

    def opener(transport: HasKeys, name: str) -> Callable[[], KeyRing]:
        return lambda: transport.key_ring(config.transport_settings.get(name, {}))

    return {each.name: opener(each, each.name) for each in load_transports()[0] if isinstance(each, HasKeys)}


def _ring(transport: str | None) -> KeyRing:
    """The keys of a transport, or of the only one that has some."""
    rings = key_rings()
    if not rings:
        missing = "; ".join(f"{name}: {reason}" for name, reason in load_transports()[1].items()) or "none is installed"
        raise TransportUnavailable("keys", f"no transport here has keys ({missing})", "pip install 'lunar-mom[zmq]'")
    if transport is None and len(rings) == 1:
        return next(iter(rings.values()))()
    if transport not in rings:
        raise ConfigError("--transport", transport, f"one of those that have keys: {', '.join(sorted(rings))}")
    return rings[transport]()


def make_key(transport: str | None, *, as_json: bool) -> int:
    """Makes a key pair and prints the public key.

    Returns:
        The exit code: not found if there is a pair already, or it cannot be written.
    """
    ring = _ring(transport)
    try:
        key = ring.make()
    except FileExistsError:
        write_error(f"there is a key in {ring.directory} already; `lunar keys show` prints it")
        return exit_codes.NOT_FOUND
    except OSError as error:
        write_error(f"{ring.directory}: {error.strerror or error}")
        return exit_codes.NOT_FOUND
    _print_key(key, ring, as_json=as_json)
    write_note(f"made in {ring.directory}; on the other hosts: lunar keys allow '{key}' --name WHOSE")
    return exit_codes.OK


def show_key(transport: str | None, *, as_json: bool) -> int:
    """Prints the public key; raises TransportUnavailable if there is none."""
    ring = _ring(transport)
    _print_key(ring.public(), ring, as_json=as_json)
    return exit_codes.OK


def _print_key(key: str, ring: KeyRing, *, as_json: bool) -> None:
    if as_json:
        write_json({"public": key, "directory": str(ring.directory)})
    else:
        write_line(key)


def allow_key(transport: str | None, key: str, name: str | None, *, as_json: bool) -> int:
    """Lets a key in.

    Returns:
        The exit code: not found if it cannot be written.
    """
    ring = _ring(transport)
    letters = "".join(letter for letter in key if letter.isascii() and letter.isalnum())
    try:
        done = ring.allow(key, f"key-{letters[:8]}" if name is None else name)
    except FileExistsError as error:
        write_error(f"another key has that name: {error.filename2 or error.filename}; choose another --name")
        return exit_codes.NOT_FOUND
    except OSError as error:
        write_error(f"{ring.directory}: {error.strerror or error}")
        return exit_codes.NOT_FOUND
    if as_json:
        write_json(asdict(done))
    else:
        write_line(f"allowed {done.name}: {done.source}")
    return exit_codes.OK


def list_keys(transport: str | None, *, as_json: bool) -> int:
    """Prints the keys that are let in, but this user's own.

    Returns:
        The exit code: ok, also if there is none.
    """
    found = _ring(transport).allowed()
    if as_json:
        write_json([asdict(each) for each in found])
    elif found:
        write_table(Table(("NAME", "KEY", "SOURCE"), [(each.name, each.key, each.source) for each in found]))
    else:
        write_note("no keys but this user's own are let in")
    return exit_codes.OK

"""`lunar perf serve`: where it listens, and what it prints of each run."""

from __future__ import annotations

import errno
import ipaddress
import os
from typing import TYPE_CHECKING

from lunar.cli import exit_codes, session
from lunar.cli.output import flush_output, write_error, write_json, write_line, write_note
from lunar.config import Config
from lunar.errors import ConfigError
from lunar.interfaces import usable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lunar_perf.server import Notice
    from lunar_perf.side import Server


def serve(bind: str, port: int, *, once: bool, as_json: bool) -> int:
    """Serves runs until Ctrl-C, or one.

    Args:
        bind: An address or an interface; "" for all that the settings allow.
        port: The TCP port; 0 for one that is free.
        once: End after the first run.
        as_json: Print a JSON document for everything that happens.

    Returns:
        The exit code: not found if the port cannot be opened, or the one run failed.

    Raises:
        ConfigError: A setting cannot be used, or there is no such address.
    """
    config = Config.from_environment()
    return session.run(_serve(config, _addresses(config, bind), port, once=once, as_json=as_json))


def _addresses(config: Config, bind: str) -> list[str]:
    try:
        if bind and ipaddress.ip_address(bind).is_unspecified:
            return [bind]  # all there are, as the user wishes
    except ValueError:
        pass
    try:
        return [each.address for each in usable([bind] if bind else config.interfaces)]
    except ConfigError as error:
        if not bind:
            raise
        raise ConfigError("--bind", bind, error.allowed) from None


async def _serve(config: Config, addresses: Sequence[str], port: int, *, once: bool, as_json: bool) -> int:
    from lunar_perf.server import PerfServer

    server = PerfServer(config, lambda notice: _print(notice, as_json))
    try:
        _announce(await server.listen(addresses, port), config, as_json)
        while True:
            ok = await server.next_result()
            if once:
                return exit_codes.OK if ok else exit_codes.NOT_FOUND
    except OSError as error:
        write_error(_why_not_open(error, port))
        return exit_codes.NOT_FOUND
    finally:
        await server.close()


def _why_not_open(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"TCP port {port} is taken, perhaps by another `lunar perf serve`; choose one with --port"
    return f"cannot listen at TCP port {port}: {os.strerror(error.errno) if error.errno else error}"


def _announce(found: Sequence[Server], config: Config, as_json: bool) -> None:
    if as_json:
        write_json({"kind": "listening", "addresses": [str(each) for each in found], "domain": config.domain})
    else:
        for each in found:
            write_line(f"listening at {each}: on the other host, lunar perf ping-pong --remote {each}")
        write_note(f"runs take place in domain {config.domain}; Ctrl-C ends this")
    flush_output()


def _print(notice: Notice, as_json: bool) -> None:
    if as_json:
        write_json({"kind": notice.kind, "client": notice.client, "text": notice.text, **notice.figures})
    else:
        write_line(f"{notice.kind.ljust(8)}  {notice.client}: {notice.text}")
    flush_output()

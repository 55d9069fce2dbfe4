"""What a check of `lunar doctor` says, and how all of them are run and printed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from lunar._version import __version__
from lunar.cli import exit_codes
from lunar.cli.output import coloured, write_json, write_line
from lunar.cli.quantities import plural

if TYPE_CHECKING:
    from lunar.cli.output import Colour

Status = Literal["ok", "warning", "failed"]

_COLOURS: dict[Status, Colour] = {"ok": "green", "warning": "yellow", "failed": "red"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        status: `ok`; `warning` if Lunar works but less well, or only in part; `failed` if it does not work.
        text: What is on or not, and why.
        remedy: What to do about it; empty if it is ok.
    """

    name: str
    status: Status
    text: str
    remedy: str = ""


Examination = Callable[[], Iterable[Check]]
"""Looks at one thing, and answers with one check or several."""


def examine(examinations: Iterable[tuple[str, Examination]]) -> Iterator[Check]:
    """Runs examinations one after the other.

    Args:
        examinations: Each with the name that stands for it if it breaks down.

    Yields:
        Their checks. One that breaks down is a failed check, and the others still run.
    """
    for name, examination in examinations:
        try:
            yield from examination()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this host, the doctor has to say so
            _log.debug("examination %s broke down", name, exc_info=True)
            yield Check(
                name, "failed", f"could not be checked: {type(error).__name__}: {error}", "report this with the text"
            )


def report(checks: Iterable[Check], *, as_json: bool) -> int:
    """Prints checks as they come, and a summary.

    Args:
        checks: What was found.
        as_json: Print one JSON document instead.

    Returns:
        The exit code: not found if a check failed.
    """
    done = []
    for check in checks:
        done.append(check)
        if not as_json:
            _print(check)
    failed = sum(check.status == "failed" for check in done)
    warnings = sum(check.status == "warning" for check in done)
    if as_json:
        write_json({"version": __version__, "ok": not failed, "checks": [asdict(check) for check in done]})
    else:
        write_line(f"{plural(len(done), 'check')}: {failed} failed, {plural(warnings, 'warning')}")
    return exit_codes.NOT_FOUND if failed else exit_codes.OK


def _print(check: Check) -> None:
    write_line(f"{coloured(f'{check.status:<8}', _COLOURS[check.status])} {check.name:<18} {check.text}")
    if check.remedy:
        write_line(f"{'':<8} {'':<18} remedy: {check.remedy}")

"""`lunar doctor`: its arguments, and what is examined in which order."""

import typer

from lunar.cli.options import AsJson, examples

app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.command(epilog=examples("lunar doctor", "lunar doctor --json | jq '.checks[] | select(.status != \"ok\")'"))
def doctor(as_json: AsJson = False) -> None:
    """Check what Lunar needs on this host, and say what is on, what is not, why, and what to do about it.

    A warning means that something works less well or only in part; a failed check, and then an exit code of 1, that the
    bus does not work.
    """
    from lunar.cli import bus_checks, host_checks, network_checks
    from lunar.cli.diagnosis import examine, report

    examinations = (*host_checks.EXAMINATIONS, *bus_checks.EXAMINATIONS, *network_checks.EXAMINATIONS)
    raise typer.Exit(report(examine(examinations), as_json=as_json))

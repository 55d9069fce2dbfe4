"""A lab of hosts to play with: `python -m lunar.testing.lab`, or `make hosts`. It stays until Ctrl-C.

For each host it writes a small script, `h1` and so on, that runs a command on that host.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lunar import errors
from lunar.testing import namespaces
from lunar.testing.hosts import Host, Hosts, lab_unavailable
from lunar.testing.impairment import Impairment

__all__ = ["main"]

_SCRIPT = """\
#!/bin/sh
# Runs a command on host {name}, which has the address {address}; without one, a shell.
PATH={path}:$PATH; export PATH
[ $# -gt 0 ] || set -- "${{SHELL:-sh}}"
exec {command} "$@"
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lunar.testing.lab", description="Hosts on this one, until Ctrl-C.")
    parser.add_argument("--count", type=int, default=3, help="how many hosts (3)")
    parser.add_argument("--networks", type=int, default=1, help="how many networks connect them (1)")
    parser.add_argument("--scripts", type=Path, default=Path("hosts"), help="folder for the scripts (./hosts)")
    bad = parser.add_argument_group("a bad cable between h1 and the others, in the first network")
    bad.add_argument("--loss", type=float, default=0.0, help="share of the packets that is lost, 0 to 1")
    bad.add_argument("--duplicate", type=float, default=0.0, help="share that arrives twice")
    bad.add_argument("--reorder", type=float, default=0.0, help="share that the next packet overtakes")
    bad.add_argument("--delay", type=float, default=0.0, help="seconds, each way")
    bad.add_argument("--rate", type=float, default=0.0, help="bytes a second")
    bad.add_argument("--seed", type=int, default=0)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes a lab, tells how to use it, waits for Ctrl-C (or SIGTERM), and removes it.

    Args:
        arguments: The command line; None stands for this process's.

    Returns:
        The exit code: 1 if there can be no lab here.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    reason = lab_unavailable()
    if reason is not None:
        sys.stderr.write(f"lunar: no lab of hosts: {reason}\n")
        return 1
    ends = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # one that comes early ends the wait below
    try:
        impairment = Impairment(options.loss, options.duplicate, options.reorder, options.delay, options.rate)
        with Hosts(options.count, networks=options.networks) as hosts:
            forwarder = hosts.impair(impairment, seed=options.seed) if impairment != Impairment() else None
            _show(hosts, options.scripts, None if forwarder is None else impairment)
            signal.sigwait(ends)
            if forwarder is not None:
                sys.stdout.write(f"\nfrom h1: {forwarder.mend().from_host}\nto h1: {forwarder.mend().to_host}\n")
    except (ValueError, errors.LunarError) as error:
        parser.error(str(error))
    finally:
        _remove_scripts(options.scripts)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


def _show(hosts: Hosts, folder: Path, impairment: Impairment | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for host in hosts:
        script = _write_script(host, folder)
        lines.append(f"{host.name}  {'  '.join(host.addresses)}  {script}")
    first = folder / "h1"
    lines += [
        "" if impairment is None else f"\nThe cable of h1 is bad: {impairment}",
        "Each script runs a command on its host, or a shell; in another terminal:",
        f"  {first} lunar doctor",
        f"The same by hand: {hosts[0].shell_command()} lunar doctor",
        "Ctrl-C removes it all.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _write_script(host: Host, folder: Path) -> Path:
    script = folder / host.name
    # The commands of the environment that made the lab (`lunar` among them) come first.
    path = shlex.quote(str(Path(sys.executable).parent))
    script.write_text(
        _SCRIPT.format(name=host.name, address=host.address, path=path, command=host.shell_command()), encoding="utf-8"
    )
    script.chmod(0o755)
    return script


def _remove_scripts(folder: Path) -> None:
    """Removes those of a lab that is gone, whoever's it was."""
    for script in folder.glob("h[0-9]*"):
        text = script.read_text(encoding="utf-8", errors="replace")
        namespace = text.partition(f"--net={namespaces.FOLDER}/")[2].partition(" ")[0]
        if namespace and namespace not in namespaces.names():
            script.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())

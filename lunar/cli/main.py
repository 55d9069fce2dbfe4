"""The entry point of the `lunar` command: how it ends.

Whatever happens, the user sees a sentence and an exit code (`lunar.cli.exit_codes`), never a traceback of an error that
Lunar foresaw, nor one of Ctrl-C. Nothing that takes time is imported before `main` is in charge of Ctrl-C.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lunar.cli import exit_codes
from lunar.cli.output import ReaderGone, flush_output, prepare_streams, write_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the `lunar` command.

    Args:
        arguments: The command line without the program's name; by default the process's own.

    Returns:
        The exit code, one of `lunar.cli.exit_codes`.
    """
    prepare_streams()
    with _quiet_ctrl_c():
        try:
            code = _run(arguments)
            flush_output()
        except KeyboardInterrupt:
            return exit_codes.INTERRUPTED
        except ReaderGone:
            # As `head` does once it has seen enough. The interpreter flushes stdout once more on its way out: not
            # into the broken pipe again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exit_codes.OK
        return code


@contextmanager
def _quiet_ctrl_c() -> Iterator[None]:
    """Lets Ctrl-C end the process at once and silently from now on and after the block, for want of anything to undo.

    A process that was started to ignore Ctrl-C, as a shell's background jobs are, goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _run(arguments: Sequence[str] | None) -> int:
    from lunar.cli.command import build_command
    from lunar.errors import ConfigError, FieldError, InvalidName, LunarError, QoSError

    command = build_command()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        # From here on there is something to say at the end: how much was counted so far.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command.main(args=None if arguments is None else list(arguments), prog_name="lunar")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exit_codes.OK
    except (ConfigError, FieldError, InvalidName, QoSError) as error:
        write_error(str(error))
        return exit_codes.USAGE
    except LunarError as error:
        write_error(str(error))
        return exit_codes.NOT_FOUND
    return exit_codes.OK

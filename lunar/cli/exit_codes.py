"""What the `lunar` command's exit codes mean, on every command."""

OK = 0
NOT_FOUND = 1
"""The thing asked for is not there: no such topic or node, no message in time, a failed check."""
USAGE = 2
"""The command line is wrong: an unknown option, an invalid name, a contradictory QoS."""
INTERRUPTED = 130
"""Ctrl-C: what was counted so far has been printed."""

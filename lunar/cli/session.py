"""A node of the command line's own, and a loop to run it on.

The loop never spins and the node's name is hidden: a command that watches should cost next to nothing and should not be
part of what it shows.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import lunar
from lunar.cli.graph_view import HIDDEN_PREFIX
from lunar.cli.output import write_warning
from lunar.events import SamplesLost


def run(command: Coroutine[object, object, int]) -> int:
    """Runs a command to its end, or until Ctrl-C cancels it.

    Args:
        command: It answers with an exit code.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the command has been cancelled and has cleaned up.
    """
    return lunar.run(command, loop="asyncio")


@asynccontextmanager
async def open_node(purpose: str, *, report_losses: bool) -> AsyncIterator[lunar.Node]:
    """Opens a hidden node, and warns on stderr of what happens to its endpoints until the block ends.

    Args:
        purpose: What the node is for, part of its name.
        report_losses: Warn of lost samples too; a command that counts them itself does not want that.
    """
    async with lunar.Node(f"{HIDDEN_PREFIX}lunar_{purpose}_{os.getpid()}") as node:
        reporter = asyncio.create_task(_report(node, report_losses))
        try:
            yield node
        finally:
            reporter.cancel()
            await asyncio.wait([reporter])


async def _report(node: lunar.Node, report_losses: bool) -> None:
    async for event in node.events():
        if event.severity == "warning" and (report_losses or not isinstance(event, SamplesLost)):
            write_warning(str(event))

"""Surroundings of a test's own: nobody else's nodes, nobody else's settings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["isolated"]

_PREFIX = "LUNAR_"


@contextmanager
def isolated(**settings: str) -> Iterator[Path]:
    """Keeps the nodes made in the block, and in processes started there, apart from all others on this host.

    The block gets a runtime directory of its own, which is removed with all that is in it when the block ends, and none
    of Lunar's settings of outside, no settings file either. The environment is that of the whole process, so not for
    two threads at once.

    Args:
        **settings: Environment variables for the block, such as `LUNAR_DOMAIN="7"`.

    Yields:
        The runtime directory.

    Raises:
        ValueError: A setting is not one of Lunar's.
    """
    for name in settings:
        if not name.startswith(_PREFIX):
            raise ValueError(f"{name} is no setting of Lunar; those begin with {_PREFIX}")
    before = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    directory = Path(tempfile.mkdtemp(prefix="lunar-"))
    try:
        _replace({"LUNAR_RUNTIME_DIR": str(directory), "LUNAR_CONFIG": os.devnull, **settings})
        yield directory
    finally:
        _replace(before)
        shutil.rmtree(directory, ignore_errors=True)


def _replace(settings: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(_PREFIX)]:
        del os.environ[name]
    os.environ.update(settings)

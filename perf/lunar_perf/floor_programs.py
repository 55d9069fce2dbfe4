"""The C programs of perf/floor, which do what a link can do at best: where they are, and how they are built.

They share sources with the transport `xdp`, so they are built from a checkout; an installed package has none.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parents[1] / "floor"
BUILT: Final = SOURCES.parents[1] / "build" / "floor"
REMEDY: Final = "run from a checkout of Lunar (pip install -e), with make and a C compiler"

_LONGEST_BUILD_S: Final = 120


def program(name: str) -> Path:
    """A program that was built."""
    return BUILT / name


def missing(sources: Path = SOURCES, built: Path = BUILT) -> str | None:
    """Build what is not built yet; why that cannot be done, or None.

    Args:
        sources: the folder with their Makefile.
        built: where they are put.
    """
    if not (sources / "Makefile").is_file():
        return "Lunar's sources are needed, and this is an installed package"
    absent = [name for name in ("make", "cc") if shutil.which(name) is None]
    if absent:
        return f"{' and '.join(absent)} not found"
    command = ["make", "--silent", "-C", str(sources), f"BUILD={built}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LONGEST_BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"make: {error}"
    if done.returncode == 0:
        return None
    errors = [line for line in done.stderr.decode(errors="replace").splitlines() if "rror" in line]
    return f"they cannot be built: {errors[0] if errors else f'make failed with {done.returncode}'}"

"""What a transport asks before it calls a library that cannot bear to reach a limit."""

from __future__ import annotations

import errno
import os

from lunar.errors import from_errno

__all__ = ["require_descriptors"]


def require_descriptors(count: int, doing: str) -> None:
    """Looks whether so many more descriptors can be opened now.

    Some libraries abort the process, or crash, if there are none in the middle of something. Another thread may take
    them meanwhile; so ask for some more than are needed.

    Args:
        count: How many.
        doing: What needs them, for the error.

    Raises:
        ResourceExhausted: There are not so many left.
    """
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.eventfd(0, os.EFD_CLOEXEC))
    except OSError as error:
        raise from_errno(-(error.errno or errno.EMFILE), doing) from error
    finally:
        for fd in opened:
            os.close(fd)

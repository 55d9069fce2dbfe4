"""The transport as the entry-point group `lunar.network_transports` finds it."""

from __future__ import annotations

__all__ = ["Transport"]


class Transport:
    """Not there yet."""

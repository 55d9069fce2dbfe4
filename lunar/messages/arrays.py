"""Scalars in a row, as the user sees them: NumPy arrays, or memoryviews where NumPy is not installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from lunar.messages.schema import Scalar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["array_maker"]

ArrayMaker = Callable[["ReadableBuffer"], object]


@cache
def array_maker(scalar: Scalar, shape: tuple[int | None, ...]) -> ArrayMaker:
    """Returns what makes an array over a buffer, without a copy; one that is an array already is returned as it is.

    NumPy is imported when the first array is made, not before.

    Args:
        scalar: The type of its elements.
        shape: Its axes, the first one None where it may be of any length; empty: one axis.
    """
    make: ArrayMaker | None = None

    def first(buffer: ReadableBuffer) -> object:
        nonlocal make
        if make is None:
            try:
                make = _numpy_maker(scalar, shape)
            except ModuleNotFoundError:
                make = _view_maker(scalar, shape)
        return make(buffer)

    return first


def _numpy_maker(scalar: Scalar, shape: tuple[int | None, ...]) -> ArrayMaker:
    import numpy as np

    dtype = np.dtype(scalar.format_code)
    axes = tuple(-1 if axis is None else axis for axis in shape)
    array, from_buffer = np.ndarray, np.frombuffer

    def make(buffer: ReadableBuffer) -> object:
        if isinstance(buffer, array):
            return buffer if buffer.ndim == max(1, len(axes)) else buffer.reshape(axes or -1)
        try:
            made = from_buffer(buffer, dtype)
        except ValueError:  # it is empty
            made = np.empty(0, dtype)
        return made.reshape(axes) if axes else made

    return make


def _view_maker(scalar: Scalar, shape: tuple[int | None, ...]) -> ArrayMaker:
    inner = math.prod(axis or 1 for axis in shape[1:])

    def make(buffer: ReadableBuffer) -> object:
        view = memoryview(buffer)
        if view.format == scalar.format_code and view.ndim == max(1, len(shape)):
            return view
        plain = view.cast("B")
        if len(shape) < 2:
            return plain.cast(scalar.format_code)  # type: ignore[call-overload]
        rows = plain.nbytes // (scalar.size_bytes * inner)
        axes = [rows if axis is None else axis for axis in shape]
        return plain.cast(scalar.format_code, axes) if plain.nbytes else plain  # type: ignore[call-overload]

    return make

"""Makes wires, and closes them."""

from collections.abc import Callable, Iterator

import pytest

from tests.unit.native.wire import Wire


@pytest.fixture
def make_wire() -> Iterator[Callable[..., Wire]]:
    wires: list[Wire] = []

    def make(*arguments: int, **more: int) -> Wire:
        wires.append(Wire(*arguments, **more))  # type: ignore[arg-type]
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()

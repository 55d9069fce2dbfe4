import os

import pytest

pytest.importorskip("cyclonedds", reason="the extra dds is not installed")


@pytest.fixture
def domain() -> int:
    """One that another test run on this machine hardly has."""
    return 20 + os.getpid() % 200

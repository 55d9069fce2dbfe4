"""The toy keeps the contract as far as it promises: run ``python -m pytest`` in this folder."""

import pytest
from toy_udp import Transport

from lunar.testing import conformance

SUBJECT = conformance.Subject(Transport)


@pytest.mark.parametrize("check", conformance.BEST_EFFORT_CHECKS, ids=str)
def test_the_contract(check: conformance.Check) -> None:
    check(SUBJECT)

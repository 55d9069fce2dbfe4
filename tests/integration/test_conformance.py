"""The conformance suite over every transport between hosts."""

import os
from collections.abc import Mapping

import pytest
from lunar_dds import Transport as Dds
from lunar_zmq import Transport as Zmq

from lunar import testing
from lunar.testing import conformance

# One that another test run on this machine hardly has.
DOMAIN = 20 + os.getpid() % 200
SUBJECTS: Mapping[str, conformance.Subject] = {
    "memory": conformance.Subject(testing.MemoryTransport),
    "zmq": conformance.Subject(Zmq, {"curve": False}),
    "dds": conformance.Subject(Dds, domain=DOMAIN),
}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=str)
@pytest.mark.parametrize("name", SUBJECTS)
def test_engines_keep_the_contract(check: conformance.Check, name: str) -> None:
    check(SUBJECTS[name])

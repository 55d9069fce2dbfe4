"""What this process lacks, in processes that really lack it."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are dropped, which needs root"),
]

# Capabilities that are not in the bounding set are gone for what is started next, root or not.
DROP = """
import ctypes, os, sys
for capability in map(int, sys.argv[2].split()):
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
        sys.exit(75)
os.execv(sys.executable, [sys.executable, "-P", "-c", sys.argv[1]])
"""
LOOK = """
from lunar_xdp.requirements import CAP_BPF, CAP_NET_RAW, look
process = look()
print(process.has(CAP_BPF), process.has(CAP_NET_RAW), process.sockets)
"""
NET_RAW, SYS_ADMIN, BPF = 13, 21, 39


def looked(*capabilities: int) -> list[str]:
    dropped = " ".join(map(str, capabilities))
    done = subprocess.run(
        [sys.executable, "-P", "-c", DROP, LOOK, dropped], stdout=subprocess.PIPE, text=True, check=False, timeout=30
    )
    if done.returncode == 75:
        pytest.skip("this process may not drop capabilities")
    assert done.returncode == 0
    return done.stdout.split()


def test_capabilities_are_those_that_there_are():
    has = looked()
    assert looked(SYS_ADMIN)[0] == has[0]
    assert looked(BPF, SYS_ADMIN)[0] == "False"
    assert looked(NET_RAW)[1] == "False"


def test_a_kernel_with_af_xdp_has_it_for_those_as_well_that_may_not_use_it():
    assert looked(NET_RAW)[2] == looked()[2]

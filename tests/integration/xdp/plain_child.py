"""Runs another program without the capabilities that AF_XDP needs, root or not."""

import ctypes
import os
import sys

NET_ADMIN, NET_RAW, SYS_ADMIN, BPF = 12, 13, 21, 39
PR_CAPBSET_DROP = 24

for capability in (NET_ADMIN, NET_RAW, SYS_ADMIN, BPF):
    if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
        sys.exit("this process may not drop capabilities")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])

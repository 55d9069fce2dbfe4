"""What the host is doing, as JSON bytes."""

import json
import os
import time

import psutil


def read_host() -> bytes:
    """Returns processor, memory, load and network figures of this moment.

    Shares of processor time are over the time since the last call.
    """
    memory = psutil.virtual_memory()
    network = psutil.net_io_counters()
    figures = {
        "time_s": time.time(),
        "cpu_percent": psutil.cpu_percent(),
        "cpu_percent_by_core": psutil.cpu_percent(percpu=True),
        "load_1_min": os.getloadavg()[0],
        "memory_used_bytes": memory.total - memory.available,
        "memory_total_bytes": memory.total,
        "network_sent_bytes": network.bytes_sent if network else 0,
        "network_received_bytes": network.bytes_recv if network else 0,
        "processes": len(psutil.pids()),
    }
    return json.dumps(figures).encode()

"""A program on a host of a lab, or the owner of one, that answers what its test asks."""

import asyncio
import os
import socket

from lunar import testing

LABS: list[testing.Hosts] = []


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def runtime_dir() -> str:
    return os.environ["LUNAR_RUNTIME_DIR"]


def make_lab() -> dict[str, object]:
    hosts = testing.Hosts(2)
    LABS.append(hosts)
    forwarder = hosts.impair()
    return {
        "namespaces": [host.namespace for host in hosts],
        "folder": str(hosts[0].runtime_dir.parent),
        "forwarder": forwarder.pid,
    }


asyncio.run(testing.serve({"interfaces": interfaces, "runtime_dir": runtime_dir, "make_lab": make_lab}))

"""DDS between hosts: discovery (`Bulletin`) and the transport `dds`, on the C library of the cyclonedds package.

The package's own serialiser, written in Python, is left out: the C library is called directly, with samples that are
laid out here. Nothing of it is loaded before a process asks for the network.
"""

from lunar_dds.bulletin import Bulletin
from lunar_dds.transport import Transport

__all__ = ["Bulletin", "Transport"]

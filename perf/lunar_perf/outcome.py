"""What one measured process reports to the process that started it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from lunar_perf.sequence import Tally


@dataclass(slots=True)
class Outcome:
    """Only the fields that belong to the process's role are filled in.

    Attributes:
        cpu_s: CPU time of the measured part.
        elapsed_s: wall time of the measured part.
        round_trips_ns: a ping's measurements, in order.
        sent: measured messages of a sender.
        tally: what a receiver saw.
        transport: what carried the samples, as the side that pings or sends found; empty where nobody says.
        reasons: for each transport, why it was chosen or not.
        lost_by_cause: what a receiver's library says that it lost, warm-up included.
    """

    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    round_trips_ns: list[int] = field(default_factory=list)
    sent: int = 0
    tally: Tally = field(default_factory=Tally)
    transport: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    lost_by_cause: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line, read back by :meth:`from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        """The inverse of :meth:`to_json`."""
        fields = json.loads(text)
        return cls(**(fields | {"tally": Tally(**fields["tally"])}))

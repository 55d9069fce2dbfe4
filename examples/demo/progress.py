"""What the demo knows of its streams so far, from the reports of the children."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from processes import Report

CAUSES = ("overwritten", "held", "expired")

# Reports come twice a second; a rate over the last two seconds is calm and yet live.
_WINDOW = 5


@dataclass
class Stream:
    """One topic as one subscriber sees it.

    Attributes:
        subscriber: Name of the subscriber.
        topic: Absolute name.
        received: Samples so far.
        lost: Samples lost so far, by cause.
        latency_us: Percentiles of the time from publishing to reception so far.
    """

    subscriber: str
    topic: str
    received: int = 0
    received_bytes: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    latency_us: dict[str, float] = field(default_factory=dict)
    _span_s: float = 0.0
    _window: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def take(self, time_s: float, facts: Report) -> None:
        """Takes in a report."""
        self.received, self.received_bytes = facts["received"], facts["received_bytes"]
        self.latency_us, self._span_s = facts["latency_us"], facts["span_s"]
        self.lost = {cause: facts[f"lost_{cause}"] for cause in CAUSES}
        self._window.append((time_s, self.received, self.received_bytes))

    def rates(self) -> tuple[float, float]:
        """Returns samples and bytes a second, lately."""
        if len(self._window) < 2:
            return 0.0, 0.0
        begin, end = self._window[0], self._window[-1]
        seconds = end[0] - begin[0]
        return (end[1] - begin[1]) / seconds, (end[2] - begin[2]) / seconds

    def overall_rates(self) -> tuple[float, float]:
        """Returns samples and bytes a second, from the first sample to the last."""
        if self.received < 2 or not self._span_s:
            return 0.0, 0.0
        per_s = (self.received - 1) / self._span_s
        return per_s, per_s * self.received_bytes / self.received

    def to_dict(self) -> Report:
        """Returns JSON-ready values."""
        per_s, bytes_per_s = self.overall_rates()
        return {
            "subscriber": self.subscriber,
            "topic": self.topic,
            "received": self.received,
            "received_bytes": self.received_bytes,
            "per_s": per_s,
            "bytes_per_s": bytes_per_s,
            "latency_us": self.latency_us,
            "lost": sum(self.lost.values()),
            **{f"lost_{cause}": count for cause, count in self.lost.items()},
        }


@dataclass
class Progress:
    """All streams, what was published, and what the host is doing.

    Attributes:
        streams: By subscriber and topic.
        published: Samples so far by topic.
        intact: Images so far that arrived as they were sent, by subscriber.
        damaged: Images that did not, likewise.
        host: The newest telemetry.
        events: What deserves attention.
        picture: Number and checksum of the image that was written, as it was sent.
    """

    streams: dict[tuple[str, str], Stream] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    intact: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, int] = field(default_factory=dict)
    host: Report = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    picture: Report | None = None

    def take(self, report: Report) -> None:
        """Takes in a report of any child."""
        match report["kind"]:
            case "publisher":
                self.published = {topic["topic"]: topic["published"] for topic in report["topics"]}
            case "subscriber":
                self._take_subscriber(report)
            case "event":
                self.events.append(report["text"])
            case "picture":
                self.picture = report

    def _take_subscriber(self, report: Report) -> None:
        name = report["name"]
        for facts in report["topics"]:
            key = (name, facts["topic"])
            self.streams.setdefault(key, Stream(*key)).take(report["time_s"], facts)
        self.streams = dict(sorted(self.streams.items()))
        self.intact[name], self.damaged[name] = report["images"]["intact"], report["images"]["damaged"]
        self.host = report["host"] or self.host

    def is_under_way(self, subscribers: int) -> bool:
        """Whether each of so many subscribers has received an image."""
        return sum(count > 0 for count in self.intact.values()) == subscribers

    def to_dict(self) -> Report:
        """Returns JSON-ready values."""
        return {
            "published": self.published,
            "streams": [stream.to_dict() for stream in self.streams.values()],
            "images_intact": self.intact,
            "images_damaged": self.damaged,
            "host": self.host,
            "events": self.events,
        }

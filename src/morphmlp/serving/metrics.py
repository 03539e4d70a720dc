"""What the server counts, in the text format of Prometheus (version 0.0.4)."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters and histograms, which only grow, and gauges, which are asked when somebody reads them.

    >>> metrics = Metrics()
    >>> metrics.count("requests_total", path="/predict", status="200")
    >>> print(metrics.text())
    # HELP morphmlp_requests_total Requests that were answered.
    # TYPE morphmlp_requests_total counter
    morphmlp_requests_total{path="/predict",status="200"} 1
    <BLANKLINE>
    """

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, _Histogram]] = defaultdict(dict)
        self._gauges: dict[str, Callable[[], float]] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        self._counters[name][tuple(labels.items())] += amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Adds a value to a histogram, of seconds if its name ends so, else of sizes."""
        histograms, key = self._histograms[name], tuple(labels.items())
        if key not in histograms:
            histograms[key] = _Histogram(_SECONDS if name.endswith("_seconds") else _SIZES)
        histograms[key].add(value)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        self._gauges[name] = read

    def text(self) -> str:
        lines: list[str] = []
        for name, values in self._counters.items():
            lines += _head(name, "counter")
            lines += [f"morphmlp_{name}{_labels(labels)} {value:g}" for labels, value in values.items()]
        for name, histograms in self._histograms.items():
            lines += _head(name, "histogram")
            lines += [line for labels, found in histograms.items() for line in found.lines(name, labels)]
        for name, read in self._gauges.items():
            lines += [*_head(name, "gauge"), f"morphmlp_{name} {read():g}"]
        return "\n".join(lines) + "\n"


class _Histogram:
    """How many values are not above each bound."""

    def __init__(self, bounds: Sequence[float]):
        self._bounds = (*bounds, math.inf)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._sum += value
        for i, bound in enumerate(self._bounds):
            self._counts[i] += value <= bound

    def lines(self, name: str, labels: Labels) -> list[str]:
        buckets = [
            f"morphmlp_{name}_bucket{_labels((*labels, ('le', '+Inf' if math.isinf(bound) else f'{bound:g}')))} {count}"
            for bound, count in zip(self._bounds, self._counts, strict=True)
        ]
        total = f"morphmlp_{name}_count{_labels(labels)} {self._counts[-1]}"
        return [*buckets, f"morphmlp_{name}_sum{_labels(labels)} {self._sum:.9g}", total]


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP morphmlp_{name} {HELP[name]}", f"# TYPE morphmlp_{name} {kind}"]


def _labels(labels: Labels) -> str:
    """The values are ours: none holds a quote, a backslash or a line end."""
    pairs = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


HELP = {
    "requests_total": "Requests that were answered.",
    "request_seconds": "From the head of a request to the end of its answer.",
    "files_total": "Files that were predicted, refused, or failed.",
    "decode_seconds": "Decoding of a file.",
    "batch_seconds": "The model, for a batch.",
    "batch_videos": "Videos, images or windows of a batch.",
    "requests_in_work": "Requests with files that are received, wait or are worked on.",
    "videos_waiting": "Decoded files that wait for the model.",
    "decoders_busy": "Decoding processes at work.",
    "decoder_restarts": "Decoding processes that were replaced since the start.",
    "draining": "1 from SIGTERM on.",
}

"""What `/metrics` shows. The data path calls `Metrics` for every action, so counting there is one dictionary entry and
no lock; Prometheus objects are only made when somebody looks. One event loop, not thread-safe.

Labels come from closed sets (verdicts, effects, fault kinds) and from the settings (targets, detectors, rule ids):
nothing that a client chooses, so that neither a secret nor an endless set of names can end up here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

DECISION_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
REQUEST_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

Labels = tuple[str, ...]
Gauge = Callable[[], float | Mapping[Labels, float]]


class Histogram:
    """Counts by upper bound (inclusive, as Prometheus has it) and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as the exposition format wants them."""
        reached, buckets = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            reached += count
            buckets.append((bound, float(reached)))
        return buckets


class Metrics(Collector):
    """All counters of this process, and gauges that are asked for when somebody looks."""

    def __init__(self) -> None:
        self.actions: Counter[Labels] = Counter()
        self.refusals: Counter[Labels] = Counter()
        self.masked_cells: Counter[str] = Counter()
        self.sessions: Counter[Labels] = Counter()
        self.faults: Counter[str] = Counter()
        self.authentication_failures: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.approvals: Counter[str] = Counter()
        self.api_requests: Counter[Labels] = Counter()
        self.decision_seconds: defaultdict[str, Histogram] = defaultdict(lambda: Histogram(DECISION_BUCKETS))
        self.api_seconds: defaultdict[Labels, Histogram] = defaultdict(lambda: Histogram(REQUEST_BUCKETS))
        self._gauges: dict[str, tuple[str, Labels, Gauge]] = {}
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(self)

    # --- the data path -------------------------------------------------------------------------------------------

    def action(self, target: str, verdict: str, effects: Iterable[str]) -> None:
        """An action was judged; once for each of its effects."""
        for effect in effects:
            self.actions[target, verdict, effect] += 1

    def decided(self, verdict: str, seconds: float) -> None:
        """A decision that was not cached took so long."""
        self.decision_seconds[verdict].observe(seconds)

    def refused(self, target: str, kind: str) -> None:
        """`kind`: `denied`, `pending`, `masking`, …: whichever refusal it was."""
        self.refusals[target, kind] += 1

    def masked(self, counts: Mapping[str, int]) -> None:
        """Cells masked in one result, by mask rule or detector."""
        self.masked_cells.update(counts)

    def session_opened(self, protocol: str, target: str) -> None:
        self.sessions[protocol, target] += 1

    def fault(self, kind: str) -> None:
        """A fault of the gateway's own: `journal`, `store`, `masking`, `policy_reload`, `notifier`, …"""
        self.faults[kind] += 1

    def authentication_failed(self, protocol: str) -> None:
        self.authentication_failures[protocol] += 1

    def malformed_message(self, protocol: str) -> None:
        self.malformed[protocol] += 1

    def approval(self, state: str) -> None:
        """An approval request came into this state (`pending`: it was made)."""
        self.approvals[state] += 1

    # --- the control API -----------------------------------------------------------------------------------------

    def api_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is the route's template, never the path that was asked for."""
        self.api_requests[method, route, str(status)] += 1
        self.api_seconds[method, route].observe(seconds)

    def gauge(self, name: str, help_text: str, read: Gauge, labels: Labels = ()) -> None:
        """Add a gauge whose value (or values by label) `read` gives when somebody looks."""
        self._gauges[name] = (help_text, labels, read)

    # --- exposition ----------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        for name, help_text, labels, counter in self._counters():
            family = CounterMetricFamily(name, help_text, labels=labels)
            for key, count in list(counter.items()):
                family.add_metric([key] if isinstance(key, str) else list(key), float(count))
            yield family
        yield _histogram(
            "taskgate_decision_seconds", "Seconds an uncached decision took.", ("verdict",), self.decision_seconds
        )
        yield _histogram(
            "taskgate_api_request_seconds", "Seconds a request took.", ("method", "route"), self.api_seconds
        )
        for name, (help_text, labels, read) in self._gauges.items():
            gauge = GaugeMetricFamily(name, help_text, labels=labels)
            value = read()
            values = value if isinstance(value, Mapping) else {(): value}
            for label, number in values.items():
                gauge.add_metric(list(label), float(number))
            yield gauge

    def _counters(self) -> Iterator[tuple[str, str, Labels, Mapping[str, int] | Mapping[Labels, int]]]:
        yield (
            "taskgate_actions",
            "Actions judged, once for each effect.",
            ("target", "verdict", "effect"),
            self.actions,
        )
        yield "taskgate_refusals", "Actions refused.", ("target", "kind"), self.refusals
        yield "taskgate_masked_cells", "Cells masked, by mask rule or detector.", ("mask",), self.masked_cells
        yield "taskgate_sessions", "Sessions opened.", ("protocol", "target"), self.sessions
        yield "taskgate_faults", "Faults of the gateway's own.", ("kind",), self.faults
        yield (
            "taskgate_authentication_failures",
            "Clients that did not prove who they are.",
            ("protocol",),
            self.authentication_failures,
        )
        yield "taskgate_malformed", "Messages that broke the protocol.", ("protocol",), self.malformed
        yield "taskgate_approvals", "Approval requests that came into a state.", ("state",), self.approvals
        yield "taskgate_api_requests", "Requests answered.", ("method", "route", "status"), self.api_requests


def _histogram(
    name: str, help_text: str, labels: Labels, histograms: Mapping[str, Histogram] | Mapping[Labels, Histogram]
) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for key, histogram in list(histograms.items()):
        label = [key] if isinstance(key, str) else list(key)
        family.add_metric(label, histogram.buckets(), histogram.total)
    return family

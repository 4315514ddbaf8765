"""What goes in and out, counted for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .job_queue import JobQueue

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)


class ServerMetrics:
    """Of one service; nothing here names a key, a prompt or a client."""

    def __init__(self, line: JobQueue) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("requests", "Requests answered", "route", "status")
        self._pictures = self._counter("pictures", "Pictures drawn")
        self._seconds = Histogram(
            "instantstyle_request_seconds",
            "From a request's arrival to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._gauge("waiting", "Requests in line").set_function(lambda: len(line))
        self._gauge("drawing", "Workers at work").set_function(lambda: line.busy)

    def count(self, route: str, status: int, seconds: float) -> None:
        """A request is over; `route` as it is written in the description, so that there are few of them."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def drawn(self) -> None:
        self._pictures.inc()

    def told(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"instantstyle_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"instantstyle_{name}", about, registry=self.registry)

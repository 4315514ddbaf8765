"""Metrics of the service for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from .job_queue import JobQueue

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300)


class ServerMetrics:
    """Metrics of one service. No label holds a key, a prompt or a client."""

    def __init__(self, queue: JobQueue) -> None:
        """Register the metrics.

        Args:
            queue: The queue whose length and busy workers are measured.
        """
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "instantstyle_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self._images = Counter("instantstyle_pictures", "Images generated", registry=self.registry)
        self._seconds = Histogram(
            "instantstyle_request_seconds",
            "From a request's arrival to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        waiting = Gauge("instantstyle_waiting", "Requests in the queue", registry=self.registry)
        waiting.set_function(lambda: len(queue))
        busy = Gauge("instantstyle_drawing", "Workers that run a request", registry=self.registry)
        busy.set_function(lambda: queue.busy)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a finished request.

        Args:
            route: The route's pattern, not the requested path, to bound the number of label values.
            status: HTTP status of the answer.
            seconds: Duration of the request.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_image(self) -> None:
        """Count a generated image."""
        self._images.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

"""The shop's own measurements.

In: finished requests. Out: Prometheus text, and the error ratio of the last seconds for the health check.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
HEALTH_WINDOW_S = 10.0
MAX_ERROR_RATIO = 0.5
MIN_REQUESTS = 5  # one failed request in an empty shop is no outage


class Metrics:
    """Counters since the start of the process; a restart begins at zero, as Prometheus expects."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._sum_s: dict[str, float] = defaultdict(float)
        self._recent: deque[tuple[float, bool]] = deque()

    def observe(self, path: str, status: int, duration_s: float, at_s: float) -> None:
        """Count one finished request; ``at_s`` is a monotonic time."""
        self._requests[path, status] += 1
        self._buckets[path][bisect_left(BUCKETS_S, duration_s)] += 1
        self._sum_s[path] += duration_s
        self._recent.append((at_s, status >= 500))
        self._forget(at_s)

    def _forget(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0][0] > HEALTH_WINDOW_S:
            self._recent.popleft()

    def error_ratio(self, now_s: float) -> float:
        """Failed share of the requests of the last ``HEALTH_WINDOW_S``; 0.0 below ``MIN_REQUESTS``."""
        self._forget(now_s)
        if len(self._recent) < MIN_REQUESTS:
            return 0.0
        return sum(failed for _, failed in self._recent) / len(self._recent)

    def exposition(self, version: str) -> str:
        """Everything in the Prometheus text format 0.0.4."""
        service = self._service
        lines = [
            "# HELP http_requests_total Requests answered, by path and status.",
            "# TYPE http_requests_total counter",
        ]
        for (path, status), count in sorted(self._requests.items()):
            lines.append(f'http_requests_total{{service="{service}",path="{path}",status="{status}"}} {count}')
        lines += [
            "# HELP http_request_duration_seconds Time to answer, by path.",
            "# TYPE http_request_duration_seconds histogram",
        ]
        for path in sorted(self._buckets):
            label = f'service="{service}",path="{path}"'
            total = 0
            for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self._buckets[path], strict=True):
                total += count
                lines.append(f'http_request_duration_seconds_bucket{{{label},le="{bound}"}} {total}')
            lines.append(f"http_request_duration_seconds_sum{{{label}}} {self._sum_s[path]:.6f}")
            lines.append(f"http_request_duration_seconds_count{{{label}}} {total}")
        lines += [
            "# HELP shop_release_info The release that runs; always 1.",
            "# TYPE shop_release_info gauge",
            f'shop_release_info{{service="{service}",version="{version}"}} 1',
        ]
        return "\n".join(lines) + "\n"

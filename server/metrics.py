"""What is measured, as Prometheus instruments in a registry of this process's own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Finer where it matters: 20 ms is what nothing may hold the loop for.
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.03, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """The instruments; names follow the Prometheus conventions, times are in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def histogram(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(name, meaning, labels, registry=self.registry, buckets=SECONDS)

        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(name, meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(name, meaning, labels, registry=self.registry)

        self.requests = histogram("zhihui_http_request_duration_seconds", "Time to answer a request.", "method", "route", "status")
        self.requests_in_flight = gauge("zhihui_http_requests_in_flight", "Requests being answered.")
        self.loop_lag = Histogram(
            "zhihui_loop_lag_seconds", "How late the event loop runs what is due.", registry=self.registry, buckets=LAG_SECONDS
        )
        self.module_sockets = gauge("zhihui_module_sockets", "Connected module sockets.")
        self.browser_sockets = gauge("zhihui_browser_sockets", "Connected browser sockets.")
        self.fires = counter("zhihui_fires_total", "Ledger rows by outcome.", "kind", "outcome")
        self.fire_lag = histogram("zhihui_fire_lag_seconds", "From the planned instant to its ledger row.")
        self.runs = counter("zhihui_runs_total", "Runs ended, by state.", "state")
        self.run_time = histogram("zhihui_run_duration_seconds", "From the start of a run to its end.", "state")
        self.steps_in_flight = gauge("zhihui_steps_in_flight", "Steps sent to modules of this instance and not yet answered.")
        self.frames = counter("zhihui_module_frames_total", "Frames from modules.", "type")
        self.stale_results = counter("zhihui_stale_results_total", "Results with a stale fence, kept as evidence.")
        self.tasks = counter("zhihui_tasks_total", "Tasks ended, by outcome.", "queue", "outcome")
        self.task_time = histogram("zhihui_task_duration_seconds", "Time a task took.", "queue", "kind")
        self.tasks_running = gauge("zhihui_tasks_running", "Tasks being worked on.", "queue")
        self.tasks_waiting = gauge("zhihui_tasks_waiting", "Tasks due and not yet claimed.", "queue")
        self.task_oldest = gauge("zhihui_task_oldest_seconds", "Age of the oldest task due and not yet claimed.", "queue")
        self.engine_up = gauge("zhihui_engine_up", "1 when the engine answered the last check.", "engine", "mode")
        self.engine_latency = gauge("zhihui_engine_latency_seconds", "How long the engine took to answer the last check.", "engine")
        self.searches = histogram("zhihui_search_duration_seconds", "Time of a search, its embedding included.", "mode")
        self.leader = gauge("zhihui_leader", "1 when this instance plans the schedules.")

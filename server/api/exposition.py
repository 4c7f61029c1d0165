"""Snapshots in the text format of Prometheus: Triton's names, so that its dashboards work, and our own.

Triton has no latency histogram; ours are beside it, and ``engram_requests_total`` tells how requests ended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from server import __version__
from server.api.snapshot import ModelSnapshot, Snapshot
from server.runtime.lines import Priority
from server.runtime.statistics import Histogram, Statistics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MODEL = ("model", "version")

COUNTERS: dict[str, tuple[str, Callable[[Statistics], int]]] = {
    "nv_inference_request_success": ("Requests answered.", lambda own: own.success.count),
    "nv_inference_count": ("Inferences, counting each row of a request.", lambda own: own.inference_count),
    "nv_inference_exec_count": ("Runs of the graph.", lambda own: own.execution_count),
    "nv_inference_request_duration_us": (
        "Microseconds of requests from prepare to answer, together.",
        lambda own: own.success.ns // 1000,
    ),
    "nv_inference_queue_duration_us": (
        "Microseconds requests waited for an executor, together.",
        lambda own: own.queue.ns // 1000,
    ),
    "nv_inference_compute_input_duration_us": (
        "Microseconds of joining requests, together.",
        lambda own: own.compute.input.ns // 1000,
    ),
    "nv_inference_compute_infer_duration_us": (
        "Microseconds of running the graph, together.",
        lambda own: own.compute.infer.ns // 1000,
    ),
    "nv_inference_compute_output_duration_us": (
        "Microseconds of taking results apart, together.",
        lambda own: own.compute.output.ns // 1000,
    ),
}
"""Triton's counters of a model version, with what each counts."""

HISTOGRAMS: dict[str, tuple[str, Callable[[Statistics], Histogram]]] = {
    "engram_request_duration_seconds": (
        "Time of an answered request from prepare to answer.",
        lambda own: own.request_seconds,
    ),
    "engram_batch_size": ("Requests in a run of the graph.", lambda own: own.batch_size),
    "engram_batch_fill_ratio": (
        "Cells of a run, padding included, over ENGRAM_MAX_BATCH_COST.",
        lambda own: own.fill,
    ),
    "engram_padding_waste_ratio": (
        "Cells of padding in a run over cells of requests.",
        lambda own: own.waste,
    ),
}
"""Our distributions of a model version."""

_UNTYPED = re.compile(rb"^(# TYPE nv_inference_(?!pending)\w+) untyped$", re.MULTILINE)


def render(snapshot: Snapshot) -> bytes:
    """Return a snapshot in the text format."""
    text = generate_latest(_Families(snapshot))
    # The library would append _total to the name of a counter, and Triton's have none.
    return _UNTYPED.sub(rb"\1 counter", text)


class _Families(Collector):
    """Every metric of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return the metrics, Triton's first."""
        models = self._snapshot.models
        yield from _triton(models)
        yield from _endings_and_cells(models)
        yield from _steps(models)
        for name, (about, histogram) in HISTOGRAMS.items():
            yield _histograms(name, about, models, histogram)
        yield _waits(models)
        yield from _gauges(models)
        yield from _batches(self._snapshot)
        yield from _server(self._snapshot)


def _triton(models: list[ModelSnapshot]) -> Iterator[Metric]:
    for name, (about, count) in COUNTERS.items():
        metric = Metric(name, about, "unknown")
        for model in models:
            metric.add_sample(name, _labels(model), count(model.statistics))
        yield metric
    failures = Metric("nv_inference_request_failure", "Requests that failed, by reason.", "unknown")
    for model in models:
        for reason, count_of_reason in model.statistics.failures.items():
            failures.add_sample(failures.name, {**_labels(model), "reason": reason}, count_of_reason)
    yield failures
    yield _gauge(
        "nv_inference_pending_request_count",
        "Requests that wait for an executor.",
        models,
        lambda model: model.waiting,
    )


def _endings_and_cells(models: list[ModelSnapshot]) -> Iterator[Metric]:
    endings = CounterMetricFamily(
        "engram_requests", "Requests, by how they ended.", labels=(*MODEL, "ending")
    )
    cells = CounterMetricFamily(
        "engram_batch_cells", "Cells of all runs: of requests, and of padding.", labels=(*MODEL, "kind")
    )
    for model in models:
        own, key = model.statistics, (model.name, str(model.version))
        for ending, count in own.endings.items():
            endings.add_metric((*key, ending), count)
        cells.add_metric((*key, "request"), own.cells)
        cells.add_metric((*key, "padding"), own.padded_cells - own.cells)
    yield endings
    yield cells


def _steps(models: list[ModelSnapshot]) -> Iterator[Metric]:
    """Of models that are driven step by step; the others take none."""
    about = "Runs of a step graph, each one step for all requests in it."
    steps = CounterMetricFamily("engram_steps", about, labels=MODEL)
    rows = CounterMetricFamily(
        "engram_step_rows", "Rows of all steps: tokens, counting each hypothesis.", labels=MODEL
    )
    for model in models:
        key = (model.name, str(model.version))
        steps.add_metric(key, model.statistics.steps)
        rows.add_metric(key, model.statistics.stepped_rows)
    yield steps
    yield rows
    yield _gauge(
        "engram_running_requests", "Requests between two steps.", models, lambda model: model.running
    )


def _histograms(
    name: str, about: str, models: Iterable[ModelSnapshot], histogram: Callable[[Statistics], Histogram]
) -> Metric:
    metric = HistogramMetricFamily(name, about, labels=MODEL)
    for model in models:
        own = histogram(model.statistics)
        metric.add_metric((model.name, str(model.version)), _buckets(own), own.total)
    return metric


def _waits(models: Iterable[ModelSnapshot]) -> Metric:
    about = "Time an answered request waited for an executor, by its priority."
    metric = HistogramMetricFamily("engram_queue_seconds", about, labels=(*MODEL, "priority"))
    for model in models:
        for priority, own in model.statistics.queue_seconds.items():
            metric.add_metric((model.name, str(model.version), priority), _buckets(own), own.total)
    return metric


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = (*map(str, histogram.bounds), "+Inf")
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


def _gauges(models: list[ModelSnapshot]) -> Iterator[Metric]:
    about = "Cells that wait, by priority; ENGRAM_MAX_QUEUE_COST bounds them."
    waiting = GaugeMetricFamily("engram_queue_cells", about, labels=(*MODEL, "priority"))
    for model in models:
        for priority in Priority:
            cells = model.waiting_cells.get(priority.label, 0)
            waiting.add_metric((model.name, str(model.version), priority.label), cells)
    yield waiting
    yield _gauge("engram_model_ready", "Whether the model answers.", models, lambda model: model.ready)
    yield _gauge("engram_executors", "Executors that live.", models, lambda model: model.executors)
    device = GaugeMetricFamily(
        "engram_device_info", "Where the graph really runs.", labels=(*MODEL, "runtime", "device")
    )
    for model in models:
        device.add_metric((model.name, str(model.version), model.runtime, model.device), 1)
    yield device


def _batches(snapshot: Snapshot) -> Iterator[Metric]:
    """Of batches that outlive their connection; those of one request are in the counts of its model."""
    about = "Batches that were accepted, and those that ended, by their state."
    batches = CounterMetricFamily("engram_batches", about, labels=("event",))
    for event in ("accepted", "done", "failed", "cancelled"):
        batches.add_metric((event,), snapshot.batches.get(event, 0))
    yield batches
    lines = CounterMetricFamily(
        "engram_batch_lines",
        "Lines of batches that were worked on, by what came of them.",
        labels=("outcome",),
    )
    for outcome in ("done", "failed"):
        lines.add_metric((outcome,), snapshot.batch_lines.get(outcome, 0))
    yield lines
    about = "Lines of batches in flight; ENGRAM_BATCH_WINDOW bounds them in each process."
    yield GaugeMetricFamily("engram_batch_running_lines", about, value=snapshot.batch_running)


def _server(snapshot: Snapshot) -> Iterator[Metric]:
    http = CounterMetricFamily(
        "engram_http_requests", "HTTP requests, by route and status.", labels=("route", "status")
    )
    for (route, status), count in sorted(snapshot.http.items()):
        http.add_metric((route, str(status)), count)
    yield http
    build = GaugeMetricFamily("engram_build_info", "The version that runs.", labels=("version",))
    build.add_metric((__version__,), 1)
    yield build
    for name, value in snapshot.process.items():
        counts = name.endswith("_total")
        family = CounterMetricFamily if counts else GaugeMetricFamily
        yield family(name, "What the system says of the process.", value=value)


def _gauge(
    name: str, about: str, models: list[ModelSnapshot], value: Callable[[ModelSnapshot], float]
) -> Metric:
    gauge = GaugeMetricFamily(name, about, labels=MODEL)
    for model in models:
        gauge.add_metric((model.name, str(model.version)), value(model))
    return gauge


def _labels(model: ModelSnapshot) -> dict[str, str]:
    return {"model": model.name, "version": str(model.version)}

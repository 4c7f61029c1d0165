"""Traces of requests, by OpenTelemetry where it is configured: request > prepare > queue > run > interpret.

Off, which is the default, a step costs one look at a context variable, and none of OpenTelemetry is imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from server import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)
"""The trace of the request that is being handled."""

_NOTHING: AbstractContextManager[None] = nullcontext()


def step(name: str) -> AbstractContextManager[None]:
    """Return a context that is a span of the request's trace, if there is one."""
    trace = TRACE.get()
    return _NOTHING if trace is None else trace.step(name)


def ran(queue_ms: float, compute_ms: float, batch_size: int) -> None:
    """Add the spans ``queue`` and ``run`` to the request's trace, if there is one; the run has just ended."""
    trace = TRACE.get()
    if trace is not None:
        trace.ran(queue_ms, compute_ms, batch_size)


class Trace:
    """The spans of one request below its root."""

    def __init__(self, tracer: Any, root: Span) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - only with traces

        self._tracer = tracer
        self._root = root
        self._context = set_span_in_context(root)
        self.trace_id = f"{root.get_span_context().trace_id:032x}"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Make a span of what happens inside."""
        with self._tracer.start_as_current_span(name, context=self._context):
            yield

    def ran(self, queue_ms: float, compute_ms: float, batch_size: int) -> None:
        """Add two spans that end now, one after the other."""
        end = time.time_ns()
        started = end - round(compute_ms * 1e6)
        self._past("queue", started - round(queue_ms * 1e6), started)
        self._past("run", started, end, {"engram.batch_size": batch_size})

    def end(self, name: str, attributes: Mapping[str, str | int], *, failed: bool = False) -> None:
        """End the request's span under the name that is known only now."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - only with traces

        self._root.update_name(name)
        self._root.set_attributes({**attributes})
        if failed:
            self._root.set_status(StatusCode.ERROR)
        self._root.end()

    def _past(self, name: str, start: int, end: int, attributes: Mapping[str, int] | None = None) -> None:
        span = self._tracer.start_span(name, context=self._context, attributes=attributes, start_time=start)
        span.end(end)


class Tracer:
    """Begins traces, and continues those of clients that send ``traceparent`` (W3C Trace Context)."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - only with traces
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        self._provider = provider
        self._tracer = provider.get_tracer("engram", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """Return the trace of a request that has just arrived."""
        carrier = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        parent = self._propagator.extract(carrier)
        return Trace(self._tracer, self._tracer.start_span("request", context=parent, kind=self._kind))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_tracer() -> Tracer:
    """Return a tracer that sends over OTLP/HTTP to where the ``OTEL_`` variables say.

    Raises:
        ValueError: the packages for it are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise ValueError(
            "sending traces takes packages that are not installed: pip install -r requirements/tracing.txt, "
            "or set ENGRAM_TRACING=0"
        ) from None
    about = Resource.create({"service.name": "engram", "service.version": __version__})
    provider = TracerProvider(resource=about.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)

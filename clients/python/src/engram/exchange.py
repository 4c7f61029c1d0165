"""One call from first attempt to result, without doing any input or output.

``exchange`` is a generator: it yields ``Send`` and ``Wait`` steps and is sent what came of them.
The two clients differ only in how they perform a step, so deadlines, retries and errors exist once.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import httpx2

from engram.calls import Call, Reply
from engram.errors import (
    APIStatusError,
    ConnectionFailed,
    EngramError,
    Timeout,
    UnexpectedResponse,
    error_class,
)
from engram.options import Options
from engram.retry import RETRIED_STATUSES, retry_after_s, wait_s

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
ANSWER_GRACE_S = 0.25
"""The server is told the time left and answers at that moment; its answer has this long to arrive."""
USER_AGENT = f"engram-client/{version('engram-client')} python/{platform.python_version()}"


@dataclass(frozen=True)
class Send:
    """Send this request and read the whole answer before the clock says ``give_up_at``."""

    request: httpx2.Request
    give_up_at: float


@dataclass(frozen=True)
class Wait:
    """Do nothing for so many seconds."""

    seconds: float


Outcome: TypeAlias = Reply | httpx2.RequestError | None
"""What came of a step: an answer or why there is none after ``Send``, ``None`` after ``Wait``."""

Steps: TypeAlias = Generator[Send | Wait, Outcome, T]


class PhaseTimeouts(Mapping[str, float]):
    """The timeouts of one request, read by the transport at the start of each phase.

    Each phase gets what is left of the whole, so that a slow connection shortens the wait for the answer.
    """

    def __init__(self, give_up_at: float, clock: Callable[[], float]) -> None:
        self._give_up_at = give_up_at
        self._clock = clock

    def __getitem__(self, phase: str) -> float:
        left_s = max(self._give_up_at - self._clock(), 0.001)
        return min(left_s, CONNECT_TIMEOUT_S) if phase == "connect" else left_s

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "pool", "read", "write"))

    def __len__(self) -> int:
        return 4


@dataclass(frozen=True)
class Attempt:
    """A call that is sent once, because its answer is used as it arrives."""

    send: Send
    call: Call[Any]
    options: Options
    request_id: str

    def failure(self, outcome: Reply | httpx2.RequestError) -> EngramError:
        """Return the exception for what came instead of an answer."""
        return _error(outcome, self.call, self.options, self.request_id)


def attempt(call: Call[Any], options: Options, clock: Callable[[], float]) -> Attempt:
    """Build a call that is sent once."""
    request_id = uuid4().hex
    send = _send(call, options, request_id, clock() + options.timeout, clock)
    return Attempt(send, call, options, request_id)


def exchange(
    call: Call[T], options: Options, clock: Callable[[], float], random: Callable[[], float]
) -> Steps[T]:
    """Send a call until it is answered, cannot be, or its time is over.

    Raises:
        EngramError: See ``engram.errors`` for the tree.
    """
    deadline = clock() + options.timeout
    request_id = uuid4().hex
    attempt = 0
    while True:
        outcome = yield _send(call, options, request_id, deadline, clock)
        if isinstance(outcome, Reply) and 200 <= outcome.status < 300:
            return _parse(call, outcome, options)
        assert outcome is not None
        error = _error(outcome, call, options, request_id)
        pause_s = wait_s(attempt, getattr(error, "retry_after", None), random)
        if attempt >= options.retries or not _may_pass(outcome) or clock() + pause_s >= deadline:
            raise error from (None if isinstance(outcome, Reply) else outcome)
        yield Wait(pause_s)
        attempt += 1


def _send(
    call: Call[Any], options: Options, request_id: str, deadline: float, clock: Callable[[], float]
) -> Send:
    """Build one attempt: the same request id each time, and the time that is left."""
    headers = httpx2.Headers(
        {
            "Accept": call.accept,
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": USER_AGENT,
            "X-Request-Id": request_id,
        }
    )
    if call.body is not None:
        headers["Content-Type"] = "application/json"
    if call.upload is not None:  # a request with a stream of its own gets no headers by itself
        headers.update({"Host": httpx2.URL(options.url).netloc.decode("ascii"), **call.upload.headers})
    if options.api_key:
        headers["Authorization"] = f"Bearer {options.api_key}"
    headers.update(options.headers)
    headers["X-Timeout-Ms"] = str(max(1, round((deadline - clock()) * 1000)))
    give_up_at = deadline + ANSWER_GRACE_S
    request = httpx2.Request(
        call.method,
        options.url + call.path,
        headers=headers,
        content=call.body,
        stream=None if call.upload is None else call.upload.stream(),
        extensions={"timeout": PhaseTimeouts(give_up_at, clock)},
    )
    return Send(request, give_up_at)


def _parse(call: Call[T], reply: Reply, options: Options) -> T:
    try:
        return call.parse(reply)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        where = f"{options.public_url}{call.path}"
        raise UnexpectedResponse(
            f"{where} answered {reply.status}, but not as an Engram server does ({reason})"
        ) from error


def _may_pass(outcome: Reply | httpx2.RequestError) -> bool:
    """Say whether the same request may succeed a moment later; answering twice does no harm."""
    if isinstance(outcome, Reply):
        return outcome.status in RETRIED_STATUSES
    if isinstance(outcome, httpx2.TimeoutException):
        return isinstance(outcome, httpx2.ConnectTimeout)
    return isinstance(outcome, (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError))


def _error(
    outcome: Reply | httpx2.RequestError, call: Call[Any], options: Options, request_id: str
) -> EngramError:
    """Turn what came instead of a result into the exception for it."""
    if isinstance(outcome, Reply):
        return _status_error(outcome, request_id)
    url = options.public_url
    error: EngramError
    if isinstance(outcome, httpx2.TimeoutException) and not isinstance(outcome, httpx2.ConnectTimeout):
        error = Timeout(
            f"no answer from {url}{call.path} within {options.timeout:g} s [request {request_id}]; "
            "a larger timeout gives it more"
        )
    elif isinstance(outcome, httpx2.DecodingError):
        error = UnexpectedResponse(f"{url}{call.path} sent a body that cannot be decoded ({outcome})")
    else:
        reason = str(outcome) or type(outcome).__name__
        error = ConnectionFailed(
            f"cannot reach an Engram server at {url} ({reason}); "
            "start one with `make serve` in the Engram folder, or set ENGRAM_URL"
        )
    error.request_id = request_id
    return error


def _status_error(reply: Reply, request_id: str) -> APIStatusError:
    """Read the error envelope; something in between (a proxy) may have answered without one."""
    try:
        envelope = reply.json()["error"]
        code, message, details = envelope["code"], envelope["message"], envelope.get("details") or {}
    except (KeyError, TypeError, ValueError):
        code, details = "", {}
        text = " ".join(reply.body[:200].decode(errors="replace").split())
        message = f"HTTP {reply.status} without an Engram error: {text}"
    retry_after = retry_after_s(reply.headers, datetime.now(UTC))
    error = error_class(code, reply.status)
    return error(message, reply.status, code, details, reply.request_id or request_id, retry_after)

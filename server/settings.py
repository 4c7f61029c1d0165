"""Every knob of the server, read once from ``ENGRAM_`` variables and the command line.

``load_settings`` is the only place that reads the environment. A wrong value becomes one plain sentence
that names the variable, what came and what is accepted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "ENGRAM_"

OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables that say where traces go."""


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message is meant for the person who set it."""


class Settings(BaseSettings):
    """One frozen object with a sentence per field; field ``port`` is the variable ``ENGRAM_PORT``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, protected_namespaces=()
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="HTTP port to listen on; 0 lets the system pick one.")
    grpc_port: int = Field(
        8001, ge=0, le=65535, description="gRPC port of the Open Inference Protocol; 0 leaves gRPC out."
    )
    metrics_port: int = Field(
        8002,
        ge=0,
        le=65535,
        description="Port with /metrics alone; 0 leaves it at /metrics of the HTTP port.",
    )
    allow_anonymous: bool = Field(
        False, description="Allow an address other machines can reach, although requests carry no key."
    )
    api_keys: SecretStr | None = Field(
        None, description="Keys that requests must carry, KEY or NAME:KEY, separated by commas."
    )
    api_keys_file: Path | None = Field(
        None, description="File with more such keys, one a line; a change counts without a restart."
    )
    admin_keys: SecretStr | None = Field(
        None, description="Keys that also open administration, such as load and unload, which is off without."
    )
    admin_keys_file: Path | None = Field(None, description="File with more such keys, one a line.")
    protect_metrics: bool = Field(False, description="Ask for a key at /metrics too.")
    protect_docs: bool = Field(False, description="Ask for a key at /docs and /openapi.json too.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Origins whose pages may call the server, separated by commas; * allows any."
    )
    model_repository: Path = Field(
        Path("model_repository"), description="Folder that holds the model bundles."
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Names of the models to load, separated by commas; empty loads all of them."
    )
    watch_s: float = Field(
        0.0, ge=0, description="How often to look for bundles that came, changed or went; 0 looks never."
    )
    runtime: Literal["onnx", "torchscript"] | None = Field(
        None, description="Runtime for every model, instead of the one its manifest names."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where the graphs run; cuda refuses to fall back to the CPU, auto reports its choice.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that serve together on one set of ports; 1 needs no supervisor.",
    )
    executors: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Executor threads for each model, one session each; unset, one for each core, at most 4.",
    )
    model_executors: Annotated[dict[str, int], NoDecode] = Field(
        {}, description="Models that have another number of them, as NAME=COUNT, separated by commas."
    )
    executor_stall_s: float = Field(
        60.0, gt=0, description="A run that takes longer has lost its executor, which is replaced."
    )
    warm_up: bool = Field(True, description="Run a few sizes up to a model's limits before it is ready.")
    max_batch_size: int = Field(32, ge=1, le=4096, description="Most requests that run as one batch.")
    max_batch_cost: int = Field(
        3_072, ge=1, description="Most padded cells (facts x words) in one batch of several requests."
    )
    max_queue_cost: int = Field(
        1_000_000, ge=1, description="Most cells (facts x words) that may wait for one model; beyond it, 429."
    )
    max_queue_ms: int = Field(
        75, ge=1, description="Longest wait, by the observed rate, that an interactive request is let in for."
    )
    timeout_ms: int = Field(30_000, ge=1, le=3_600_000, description="Longest time a request may take.")
    max_body_bytes: int = Field(
        8 * 2**20, ge=1, description="Largest request body, as it comes over the wire."
    )
    max_decompressed_bytes: int = Field(
        32 * 2**20, ge=1, description="Largest request body once its compression is undone."
    )
    max_json_depth: int = Field(64, ge=2, le=500, description="Deepest nesting of a JSON body.")
    max_tensor_elements: int = Field(
        2**20, ge=1, description="Most elements of all tensors of one inference request."
    )
    max_header_bytes: int = Field(
        32 * 2**10, ge=1024, description="Most bytes of a request line with its headers."
    )
    max_headers: int = Field(100, ge=1, description="Most headers of a request.")
    max_chunks: int = Field(10_000, ge=1, description="Most chunks that a chunked body may come in.")
    max_connections: int = Field(
        4096, ge=1, description="Most connections, and calls over gRPC, open at once; beyond it, 429."
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="How long a request line with its headers may take to arrive."
    )
    max_batch_items: int = Field(1024, ge=1, description="Most items in one batch request.")
    batch_concurrency: int = Field(
        64, ge=1, description="Items of one batch request that wait or run at the same time."
    )
    batches: bool = Field(
        True, description="Keep batches that outlive their connection, at /v1/batches; 0 turns them off."
    )
    batch_file: Path = Field(
        Path("batches.sqlite3"),
        description="SQLite file that keeps them, made when the first batch comes.",
    )
    batch_database: SecretStr | None = Field(
        None,
        description="URL of a PostgreSQL database that keeps them instead, for servers that share the work.",
    )
    batch_max_bytes: int = Field(512 * 2**20, ge=1, description="Largest batch that is taken.")
    batch_max_line_bytes: int = Field(2**20, ge=1, description="Largest line of a batch.")
    batch_free_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Bytes of the disk that new batches leave alone; beyond it, 507.",
    )
    batch_max_open: int = Field(100, ge=1, description="Most unfinished batches of one key; beyond it, 429.")
    batch_keep_hours: float = Field(
        168.0, gt=0, description="How long a batch and its results are kept after its end."
    )
    batch_lease_s: float = Field(
        10.0, ge=1, description="How long after its last sign of life the work of a process is taken over."
    )
    batch_window: int = Field(
        64, ge=1, le=4096, description="Lines of batches in flight in one process while nobody else asks."
    )
    batch_polite_window: int = Field(
        2, ge=1, le=4096, description="Lines of batches in flight while interactive requests come."
    )
    max_attention_weights: int = Field(
        100_000,
        ge=0,
        description="Largest attention sent in full; beyond it an answer carries its top weights.",
    )
    gzip_min_bytes: int = Field(4096, ge=0, description="Smallest answer that is worth compressing.")
    keep_alive_s: int = Field(75, ge=0, description="How long an idle connection stays open.")
    drain_s: float = Field(
        1.0,
        ge=0,
        description="After SIGTERM, how long the server still takes work while it reports not ready.",
    )
    shutdown_grace_s: int = Field(
        30, ge=0, description="After that, how long requests in flight may take before they are cut off."
    )
    tracing: bool | None = Field(
        None,
        description="Send traces by OpenTelemetry; unset, it is on when OTEL_EXPORTER_OTLP_ENDPOINT is set.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe messages that are logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="One JSON object a line, or text for people; auto is text on a terminal."
    )

    @field_validator("models", "cors_origins", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("model_executors", mode="before")
    @classmethod
    def _split_counts(cls, value: Any) -> Any:
        if isinstance(value, str):
            pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
            if not all(count.strip().isdecimal() and 1 <= int(count) <= 64 for _, _, count in pairs):
                raise PydanticCustomError("pairs", "Input should be NAME=COUNT, each COUNT from 1 to 64")
            return {name.strip(): int(count) for name, _, count in pairs}
        return value


def variable(field: str) -> str:
    """Return the environment variable of a field: ``port`` is ``ENGRAM_PORT``."""
    return PREFIX + field.upper()


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment; ``overrides`` win.

    Raises:
        SettingsError: a value is not acceptable; the message lists every such variable.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(entry) for entry in error.errors())) from None


def wants_traces(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether traces are sent: as the setting says, else when OpenTelemetry has somewhere to send."""
    if settings.tracing is not None:
        return settings.tracing
    return any(environment.get(name) for name in OTLP_ENDPOINTS)


def misspelled(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return ``ENGRAM_`` variables that are no setting but look like one, with the one they resemble."""
    known = [variable(field) for field in Settings.model_fields]
    strangers = [name for name in environment if name.startswith(PREFIX) and name not in known]
    near = {name: get_close_matches(name, known, n=1, cutoff=0.85) for name in strangers}
    return {name: matches[0] for name, matches in near.items() if matches}


def _sentence(entry: Mapping[str, Any]) -> str:
    field = str(entry["loc"][0])
    option = "--" + field.replace("_", "-")
    about = Settings.model_fields[field].description
    expected = str(entry["msg"]).removeprefix("Input ")
    return f"{variable(field)} ({option}) is {entry['input']!r}: it {expected}. {about}"

"""The sessions of a model's stages: opened, verified by the golden probes of each, warmed and closed."""

from __future__ import annotations

from dataclasses import dataclass

from server.contract.bundle import Bundle
from server.contract.manifest import StageName
from server.runtime.golden import replay
from server.runtime.options import RuntimeOptions
from server.runtime.session import OpenStage, Session, open_stage
from server.runtime.warm_up import warm_up


@dataclass(frozen=True, slots=True)
class StageSessions:
    """A session for each stage. Used by one thread at a time."""

    step: Session
    encoder: Session | None = None

    def close(self) -> None:
        """Let go of the graphs."""
        for session in (self.step, self.encoder):
            if session is not None:
                session.close()


def open_stages(bundle: Bundle, options: RuntimeOptions, open_one: OpenStage = open_stage) -> StageSessions:
    """Open every stage of a bundle; each has passed its golden probes and is warm.

    Raises:
        BundleError: a graph, its probes, the runtime or the device cannot be had or do not hold.
    """
    encoder = _open(bundle, "encoder", options, open_one) if "encoder" in bundle.manifest.stages else None
    try:
        return StageSessions(_open(bundle, "step", options, open_one), encoder)
    except BaseException:
        if encoder is not None:
            encoder.close()
        raise


def _open(bundle: Bundle, stage: StageName, options: RuntimeOptions, open_one: OpenStage) -> Session:
    manifest = bundle.manifest
    probes = bundle.probes(f"{stage}_golden")
    session = open_one(bundle, stage, options.runtime, options.device)
    try:
        replay(session, manifest.stages[stage], probes)
        if options.warm_up:
            warm_up(session, manifest.stages[stage], manifest.limits, probes.inputs[0], options)
    except BaseException:
        session.close()
        raise
    return session

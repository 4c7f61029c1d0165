"""Opens the sessions of a bundle: each has passed the golden probes on the device it got, and is warm."""

from __future__ import annotations

from contextlib import ExitStack

from server.contract.bundle import Bundle
from server.runtime.golden import replay
from server.runtime.options import RuntimeOptions
from server.runtime.session import OpenSession, Session
from server.runtime.stepwise.stages import StageSessions, open_stages
from server.runtime.warm_up import warm_up


class Opening:
    """Opens what the executors of one model need, and again what takes the place of a lost one."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions, open_session: OpenSession) -> None:
        self._bundle = bundle
        self._options = options
        self._open_session = open_session

    def everything(self) -> tuple[list[Session], list[StageSessions]]:
        """Open a session for every executor.

        The stages of a model that is driven step by step have the executors; its whole graph, which answers
        raw arrays alone, has one.

        Raises:
            BundleError: the graph, the runtime or the device cannot be had, or a probe does not hold.
        """
        stepwise = bool(self._bundle.manifest.stages)
        sessions: list[Session] = []
        stages: list[StageSessions] = []
        with ExitStack() as opened:
            for place in range(self._options.executors):
                if place == 0 or not stepwise:
                    sessions.append(self.session())
                    opened.callback(sessions[-1].close)
                if stepwise:
                    stages.append(self.stages())
                    opened.callback(stages[-1].close)
            opened.pop_all()  # all is well: nothing is closed
        return sessions, stages

    def session(self) -> Session:
        """Open a session on the whole graph."""
        manifest, probes = self._bundle.manifest, self._bundle.probes()
        session = self._open_session(self._bundle, self._options.runtime, self._options.device)
        try:
            replay(session, manifest.signature, probes)
            if self._options.warm_up:
                warm_up(session, manifest.signature, manifest.limits, probes.inputs[0], self._options)
        except BaseException:
            session.close()
            raise
        return session

    def stages(self) -> StageSessions:
        """Open a session on each stage."""
        return open_stages(self._bundle, self._options)

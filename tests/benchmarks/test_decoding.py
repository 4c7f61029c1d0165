"""Every way of translating that is measured translates alike."""

from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.torch  # two of the ways are eager torch


@pytest.fixture(scope="module")
def contest():
    from benchmarks.captions import captions
    from benchmarks.decoding import Contest
    from export.graphs import graphs_of
    from export.wrappers import EagerSession
    from models.translating import subwords_of
    from server.contract.manifest import Stage
    from server.runtime.stepwise.stages import StageSessions
    from tests.models.translation_builders import recipe

    made = recipe()
    checkpoint = made.checkpoint(made.network().eval(), {}, {})
    graphs = graphs_of(checkpoint)
    stages = {
        str(name): Stage(inputs=graph.signature.inputs, outputs=graph.signature.outputs)
        for name, graph in graphs.stages.items()
    }
    manifest = SimpleNamespace(
        name="small",
        selector=checkpoint.selector,
        limits=checkpoint.limits,
        stages=stages,
        signature=graphs.model.signature,
    )
    bundle = SimpleNamespace(manifest=manifest, subwords=subwords_of(checkpoint)[0])
    contest = Contest(bundle, checkpoint, captions(3))
    contest.stages = StageSessions(
        EagerSession(graphs.stages["step"]), EagerSession(graphs.stages["encoder"])
    )
    return contest


def test_every_way_finds_the_same_translations(contest):
    # An untrained network says one thing again and again, up to the limit of each row.
    said = contest.static()
    assert contest.joining() == contest.eager() == said
    for naive, own in zip(contest.naive(), said, strict=True):
        assert naive.startswith(own)


def test_captions_are_drawn_alike_and_of_many_lengths():
    from benchmarks.captions import captions

    texts = captions(200)
    assert texts == captions(200)
    lengths = {len(text.split()) for text in texts}
    assert min(lengths) < 6
    assert max(lengths) > 30

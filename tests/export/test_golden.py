import dataclasses

import numpy as np
import pytest

from export.golden import GOLDEN, golden_probes
from export.probes.question_answering import LENGTHS
from export.wrappers import EagerSession
from server.contract.bundle import Probes
from server.contract.text import UNKNOWN_ID, Vocabulary
from server.runtime.golden import replay

TOLERANCE = 1e-5


def test_the_file_holds_what_eager_torch_answers(bundle, graph):
    replay(EagerSession(graph), graph.signature, bundle.probes())


def test_making_probes_again_makes_the_same(bundle, graphs):
    again, stored = golden_probes(graphs, bundle, TOLERANCE)[GOLDEN], bundle.probes()
    assert again.tolerance == stored.tolerance
    for own, other in zip(again.inputs, stored.inputs, strict=True):
        for name in own:
            np.testing.assert_array_equal(own[name], other[name])


def test_probes_are_of_many_lengths_up_to_the_limit(bundle):
    lengths = [len(probe["story_tokens"]) for probe in bundle.probes().inputs]
    limit = bundle.manifest.limits["max_facts"]
    assert lengths == sorted({min(length, limit) for length in LENGTHS})
    assert lengths[0] == 1


def test_probes_are_written_in_known_words(bundle):
    for probe in bundle.probes().inputs:
        assert all((array != UNKNOWN_ID).all() for array in probe.values())


@pytest.mark.parametrize("words", [["alpha", "beta", "gamma"], ["where", "is", "ada", "walked", "to", "the"]])
def test_any_vocabulary_gives_probes(bundle, graphs, words):
    odd = dataclasses.replace(bundle, vocabulary=Vocabulary.from_words(words))
    probes = golden_probes(graphs, odd, TOLERANCE)[GOLDEN]
    ids = {int(token) for probe in probes.inputs for token in probe["story_tokens"].flat} - {0}
    assert ids <= set(range(2, len(odd.vocabulary)))
    assert len(ids) > 1


def test_probes_stay_within_short_limits(bundle, graphs):
    limits = {"max_facts": 2, "max_words": 3, "max_question_words": 2}
    tight = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"limits": limits}))
    for probe in golden_probes(graphs, tight, TOLERANCE)[GOLDEN].inputs:
        assert probe["story_tokens"].shape <= (2, 3)
        assert probe["question_tokens"].size <= 2


def test_probes_read_back_as_the_server_reads_them(bundle, graphs, tmp_path):
    made = golden_probes(graphs, bundle, TOLERANCE)[GOLDEN]
    made.save(tmp_path / "golden.npz")
    again = Probes.parse((tmp_path / "golden.npz").read_bytes())
    assert [list(probe) for probe in again.outputs] == [graphs.model.outputs] * len(made.outputs)

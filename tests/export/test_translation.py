"""The graphs of networks that translate: they speak as eager torch does, and every form is exported alike."""

import warnings
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.forms import certify, export_forms
from export.samples import random_requests
from export.translation import translation_graphs
from export.wrappers import EagerSession
from models.checkpoint import Checkpoint
from models.translator import SearchOptions, translate
from server.contract.manifest import Stage
from server.contract.subwords import END_ID
from server.contract.tensors import join
from server.runtime.options import RuntimeOptions
from server.runtime.stepwise.stages import StageSessions
from server.runtime.stepwise.walker import Walker
from server.runtime.stepwise.wiring import Wiring
from server.tasks import Prepared
from server.tasks.sentences import Piece
from server.tasks.translating import Asked, Translating
from server.tasks.translating_form import TranslateRequest
from server.tasks.translating_parts import Part
from tests.export.small import quiet
from tests.models.translation_builders import VARIANTS, ids, network

EXPORTED = [variant for variant in VARIANTS if "as many steps" not in variant]


def checkpoint(variant, **options):
    net = network(variant, **options)
    return Checkpoint(VARIANTS[variant][0], asdict(net.config), net.state_dict(), [], [], {"max_pieces": 6})


@pytest.mark.parametrize("variant", EXPORTED)
def test_the_whole_graph_speaks_as_the_eager_decoder(variant):
    graphs, rng = translation_graphs(checkpoint(variant)), np.random.default_rng(1)
    sources = [np.append(ids(rng, length), END_ID) for length in (5, 1, 3)]
    whole = graphs.model.module
    tokens = join(graphs.model.signature.inputs, [{"source_tokens": source} for source in sources])
    with torch.inference_mode():
        decoded = whole.decode(torch.from_numpy(tokens["source_tokens"])).outputs
    found = translate(network(variant), sources, SearchOptions(length_power=0.0))
    for row, one in enumerate(found):
        length = int(decoded["lengths"][row])
        said = decoded["target_tokens"][row, :length].tolist()
        assert said[: len(one.ids)] == one.ids.tolist()
        assert (said[-1] == END_ID) == one.ended or not one.ended
        if one.ended:
            assert float(decoded["scores"][row].sum()) == pytest.approx(one.score, abs=1e-4)


@pytest.mark.parametrize("variant", EXPORTED)
def test_what_a_row_is_told_ends_with_its_own_source(variant):
    graphs, rng = translation_graphs(checkpoint(variant)), np.random.default_rng(2)
    requests = random_requests(graphs.model, {"source_tokens": 4}, 2, rng)
    tokens = join(graphs.model.signature.inputs, requests)
    with torch.inference_mode():
        encoded = graphs.stages["encoder"].module(torch.from_numpy(tokens["source_tokens"]))
    for spec, tensor in zip(graphs.stages["encoder"].signature.outputs, encoded, strict=True):
        sizes = {"batch": 2, "source_tokens": tokens["source_tokens"].shape[1]}
        assert tuple(tensor.shape) == tuple(sizes.get(dim, dim) for dim in spec.dims)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["attention", "window", "listening"])
def test_the_exported_files_are_the_network(variant):
    graphs = translation_graphs(checkpoint(variant))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forms = export_forms(graphs, torchscript=False, half=False, progress=quiet)
    assert forms.keys() == {"model", "encoder", "step"}
    certificate = certify(graphs, forms, 1e-5, quiet)
    assert certificate["tolerance"] == 1e-5


def test_a_number_of_steps_that_depends_on_the_source_is_refused():
    with pytest.raises(ValueError, match=r"network\.steps is 0: only a fixed number"):
        translation_graphs(checkpoint("whole canvas, as many steps as columns"))


@pytest.mark.parametrize("variant", ["attention", "window", "whole canvas"])
def test_the_server_finds_what_the_eager_decoder_finds(variant):
    rng, graphs = np.random.default_rng(3), translation_graphs(checkpoint(variant))
    stages = {
        str(name): Stage(inputs=graph.signature.inputs, outputs=graph.signature.outputs)
        for name, graph in graphs.stages.items()
    }
    manifest = SimpleNamespace(stages=stages, signature=graphs.model.signature)
    bundle = SimpleNamespace(manifest=manifest, subwords=SimpleNamespace(labels=list, text=repr))
    sessions = StageSessions(*(EagerSession(graphs.stages[name]) for name in ("step", "encoder")))
    walker = Walker(sessions, Wiring.of(manifest), Translating(), bundle, RuntimeOptions())
    sources = [np.append(ids(rng, length), END_ID) for length in (4, 1, 6, 3)]
    outputs = ("most_steps", "log_probabilities", "attention")
    for beam in (1, 3):
        part = Part(TranslateRequest(beam_size=beam), 0, 0, "text", "", Piece(0, 0), "")
        prepared = [
            Prepared({"source_tokens": source}, outputs, Asked(part, [""] * len(source)), beam)
            for source in sources
        ]
        together = walker.answer(prepared)
        alone = [walker.answer([one])[0] for one in prepared]
        expected = translate(network(variant), sources, SearchOptions(beam))
        for own, single, wanted in zip(together, alone, expected, strict=True):
            assert own.tokens == single.tokens == wanted.ids.tolist()
            assert (own.finish_reason == "end") == wanted.ended
            assert own.score == pytest.approx(wanted.score, abs=1e-5)
            if len(wanted.ids):
                assert own.attention.weights.shape == (len(wanted.ids), len(own.source_tokens))

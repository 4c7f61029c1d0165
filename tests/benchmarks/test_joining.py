import pytest

pytestmark = pytest.mark.torch  # its graph is made with onnx, which comes with torch


@pytest.fixture
def contest():
    from benchmarks.joining import Contest, made_up_requests

    return Contest(made_up_requests(5), batch_size=2)


@pytest.mark.parametrize("way", ["joining", "leaving", "static"])
def test_every_way_answers_every_request(contest, way):
    outcome = getattr(contest, way)()
    assert len(outcome.times) == 5
    assert 0 < min(outcome.times) <= max(outcome.times)
    assert outcome.processor_s > 0


def test_answers_have_as_many_words_as_were_asked_for():
    from benchmarks.decoder_graph import Decoding, Sentence, made_up_bundle, open_sessions
    from server.runtime.options import RuntimeOptions
    from server.runtime.stepwise.walker import Walker
    from server.runtime.stepwise.wiring import Wiring

    task, bundle = Decoding(), made_up_bundle()
    walker = Walker(open_sessions(), Wiring.of(bundle.manifest), task, bundle, RuntimeOptions())
    requests = [Sentence([5, 7, 9], 2), Sentence([3], 4)]
    together = walker.answer([task.prepare(request, bundle) for request in requests])
    alone = [walker.answer([task.prepare(request, bundle)])[0] for request in requests]
    assert [len(answer.words) for answer in together] == [2, 4]
    assert together == alone

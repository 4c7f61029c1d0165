"""The committed tiny bundle, served: right answers, resting on the right facts."""

from pathlib import Path

import pytest

from tests.end_to_end.serving import served

REPOSITORY = Path(__file__).parents[1] / "data" / "model_repository"
STORY = [
    "Ada walked to the attic.",
    "Ben walked to the library.",
    "Ada took the lamp.",
    "Cleo walked to the cellar.",
    "Ada walked to the harbour.",
]
QUESTIONS = {"Where is the lamp?": "harbour", "Where is Ben?": "library", "Where is Cleo?": "cellar"}


async def ask(client, **body):
    return (await client.post("/v1/qa", json=body)).raise_for_status().json()


@pytest.mark.parametrize("question", QUESTIONS)
async def test_the_answer_is_right(question):
    async with served(REPOSITORY) as client:
        answer = await ask(client, story=STORY, question=question)
    assert answer["answer"] == QUESTIONS[question]
    assert answer["model"] == {"name": "dmn-plus-tiny", "version": 1}


async def test_the_evidence_is_what_the_answer_rests_on():
    async with served(REPOSITORY) as client:
        answer = await ask(client, story=STORY, question="Where is the lamp?")
    assert {fact["index"] for fact in answer["evidence"][:2]} == {2, 4}
    for row in answer["attention"]["weights"]:
        assert sum(row) == pytest.approx(1, abs=1e-5)
        assert len(row) == len(STORY)


async def test_stories_of_other_lengths_in_the_batch_change_nothing():
    requests = [{"story": STORY[:count], "question": "Where is Ada?"} for count in (1, 3, 5)]
    async with served(REPOSITORY) as client:
        batch = await client.post("/v1/qa/batch", json={"requests": requests})
        together = batch.raise_for_status().json()["results"]
        alone = [await ask(client, **request) for request in requests]
    assert [one["answer"] for one in together] == ["attic", "attic", "harbour"]
    for own, other in zip(alone, together, strict=True):
        assert own["score"] == pytest.approx(other["score"], abs=1e-5)
        for row, same in zip(own["attention"]["weights"], other["attention"]["weights"], strict=True):
            assert row == pytest.approx(same, abs=1e-5)


async def test_the_certificate_is_told():
    async with served(REPOSITORY) as client:
        card = (await client.get("/v1/models/dmn-plus-tiny")).raise_for_status().json()
    assert "largest_difference" in str(card)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
async def test_torchscript_serves_the_same():
    answers = []
    for runtime in ("onnx", "torchscript"):
        async with served(REPOSITORY, runtime=runtime) as client:
            answers.append(await ask(client, story=STORY, question="Where is the lamp?"))
    own, other = answers
    assert own["answer"] == other["answer"]
    assert own["score"] == pytest.approx(other["score"], abs=1e-5)
    for row, same in zip(own["attention"]["weights"], other["attention"]["weights"], strict=True):
        assert row == pytest.approx(same, abs=1e-5)

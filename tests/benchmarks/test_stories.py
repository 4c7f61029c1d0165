import pytest

from benchmarks.stories import mixed, twenty_facts
from benchmarks.traces import MIXED, TWENTY_FACTS, read_trace


@pytest.mark.parametrize(("name", "write"), [(TWENTY_FACTS, twenty_facts), (MIXED, mixed)])
def test_the_committed_trace_is_what_the_script_writes(name, write):
    assert read_trace(name) == write()


def test_stories_of_the_short_trace_have_twenty_facts():
    assert {len(request["story"]) for request in read_trace(TWENTY_FACTS)} == {20}


def test_the_mixed_trace_has_every_length_from_5_to_70():
    assert {len(request["story"]) for request in read_trace(MIXED)} == set(range(5, 71))


@pytest.mark.parametrize("name", [TWENTY_FACTS, MIXED])
def test_no_request_comes_twice(name):
    requests = read_trace(name)
    assert len({str(request) for request in requests}) == len(requests)


@pytest.mark.parametrize("name", [TWENTY_FACTS, MIXED])
def test_a_question_is_about_something_in_its_story(name):
    for request in read_trace(name):
        subject = request["question"].removesuffix("?").split()[-1]
        assert any(subject in sentence for sentence in request["story"])

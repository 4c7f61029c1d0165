"""The document behind ``/docs`` says what the routes really take and give."""

import msgspec
import pytest

from server.api.examples import EXAMPLES
from server.api.openapi import ERRORS
from server.api.task_endpoints import answer_type
from server.tasks import TASKS
from tests.server.api.conftest import QUESTION


@pytest.fixture
async def document(client):
    return (await client.get("/openapi.json")).json()


def test_every_task_has_an_example_of_its_own_types():
    assert EXAMPLES.keys() == TASKS.keys()
    for name, (request, answer) in EXAMPLES.items():
        msgspec.convert(request, TASKS[name].Request)
        msgspec.convert(answer, answer_type(TASKS[name]))


async def test_every_route_is_described(app, document):
    own = {route.path for route in app.routes if route.path.startswith(("/v1", "/hf", "/health"))}
    assert document["paths"].keys() == own


async def test_every_reference_leads_to_a_schema(document):
    def references(node):
        if isinstance(node, dict):
            yield from [node["$ref"]] if "$ref" in node else []
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from references(child)

    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert names <= document["components"]["schemas"].keys()
    assert {"QaRequest", "QaResponse", "Attention", "ErrorEnvelope"} <= names


async def test_real_answer_has_the_fields_of_the_schema(client, document):
    answer = (await client.post("/v1/qa", json=QUESTION)).json()
    assert answer.keys() == document["components"]["schemas"]["QaResponse"]["properties"].keys()
    msgspec.convert(answer, answer_type(TASKS["qa"]))


async def test_error_statuses_are_listed(document):
    listed = document["paths"]["/v1/qa"]["post"]["responses"].keys()
    assert listed == {"200", *map(str, ERRORS)}


async def test_docs_page_is_served(client):
    assert "openapi.json" in (await client.get("/docs")).text

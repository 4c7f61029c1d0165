"""The hot paths go past the router; whatever else comes takes it, and is answered as ever."""

import pytest

from server.api.exchange import Exchange
from server.api.http_errors import NotFound
from server.api.shortcut import Shortcut


@pytest.fixture
def taken():
    return []


@pytest.fixture
def shortcut(taken):
    def way(name):
        async def take(scope, receive, send):
            taken.append(name)

        return take

    return Shortcut(way("router"), {"/v1/qa": way("endpoint")})


@pytest.fixture
def exchange_scope():
    scope = {"type": "http", "method": "POST", "path": "/v1/qa", "headers": []}
    return {**scope, "engram": Exchange(scope)}


@pytest.mark.parametrize(
    ("scope", "way"),
    [
        ({"type": "http", "method": "POST", "path": "/v1/qa"}, "endpoint"),
        ({"type": "http", "method": "GET", "path": "/v1/qa"}, "router"),
        ({"type": "http", "method": "POST", "path": "/v1/qa/"}, "router"),
        ({"type": "lifespan"}, "router"),
    ],
    ids=["hot", "method", "path", "lifespan"],
)
async def test_only_a_post_to_an_exact_path_goes_past_the_router(shortcut, taken, scope, way):
    await shortcut(scope, None, None)
    assert taken == [way]


async def test_an_error_on_the_way_is_answered(exchange_scope):
    async def fail(scope, receive, send):
        raise NotFound("it is not there")

    sent = []

    async def send(message):
        sent.append(message)

    await Shortcut(fail, {"/v1/qa": fail})(exchange_scope, None, send)
    assert sent[0]["status"] == 404


async def test_errors_of_hot_paths_are_counted_by_their_route(app, client):
    response = await client.post("/v1/qa", content=b"{")
    assert response.json()["error"]["code"] == "malformed_json"
    assert app.metrics.http["/v1/qa", 400] == 1


async def test_another_method_is_refused_by_the_router(client):
    response = await client.get("/v1/qa")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")

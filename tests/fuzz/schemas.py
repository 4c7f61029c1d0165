"""Hypothesis strategies from the OpenAPI document: requests that are right, nearly right, and wrong."""

import random
import re

from hypothesis import strategies as st

from tests.fuzz.mutations import as_json, scramble, spoil

HEADERS = {
    "Accept": ("*/*", "application/json", "image/svg+xml", "image/png", "text/plain", ";q=x", "*/*;q=0", ","),
    "Accept-Encoding": ("gzip", "deflate;q=0.5, gzip", "br", "gzip;q=nan", ";;;", "*;q=0"),
    "Content-Type": ("application/json", "text/plain", "multipart/form-data", "\xff", ""),
    "Content-Encoding": ("identity", "gzip", "deflate", "br", "gzip, gzip"),
    "X-Timeout-Ms": ("1", "0", "-1", "5000", "nan", "inf", "1e999", "9" * 400, "x", "", "\uff11"),
    "X-Request-Id": ("a", "\x7f\xe9", "x" * 500, "{}", "a b"),
    "Authorization": ("Bearer x", "Basic eDp5", "Bearer", ""),
    "traceparent": ("00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x-y-z"),
    "Expect": ("100-continue", "200-nothing"),
}


SEGMENTS = (
    *(
        "dmn-plus-tiny",
        "dmn-plus-tiny:1",
        "dmn-plus-tiny:99",
        "dmn-plus-tiny.text",
        "nobody",
        "..%2f..%2fetc",
    ),
    *("%00", "%ff%fe", "a" * 300, "dmn-plus-tiny:" + "9" * 5000, "%F0%9F%92%A5", ":1", "-", "a:\uff11"),
)


class Schemas:
    """Strategies for the parts of a document; ``texts`` are strings that mean something to the server."""

    def __init__(self, document, texts):
        self._document = document
        self._texts = st.sampled_from(texts) | st.sampled_from(texts) | st.text(max_size=12)

    def values(self, schema):
        """Return a strategy of values that a schema allows."""
        if "$ref" in schema:
            return self.values(self._resolved(schema))
        if "allOf" in schema:
            return self._object(self._merged(schema))
        if "anyOf" in schema:
            return st.one_of([self.values(each) for each in schema["anyOf"]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        return getattr(self, "_" + schema["type"])(schema)

    def _resolved(self, schema):
        return self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]

    def _merged(self, schema):
        """Return one object of all; what stands beside ``allOf`` has the last word."""
        parts = [*map(self._resolved, schema["allOf"]), schema]
        properties = {name: each for part in parts for name, each in part.get("properties", {}).items()}
        return {
            "properties": properties,
            "required": [name for part in parts for name in part.get("required", ())],
        }

    def _object(self, schema):
        required = set(schema.get("required", ()))
        fields = {name: self.values(each) for name, each in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: each for name, each in fields.items() if name in required},
            optional={name: each for name, each in fields.items() if name not in required},
        )

    def _array(self, schema):
        if "prefixItems" in schema:
            return st.tuples(*map(self.values, schema["prefixItems"])).map(list)
        most = min(schema.get("maxItems", 30), 30 if schema["items"].get("type") == "string" else 4)
        return st.lists(self.values(schema["items"]), min_size=schema.get("minItems", 0), max_size=most)

    def _string(self, schema):
        return self._texts

    def _integer(self, schema):
        return st.integers(schema.get("minimum"), schema.get("maximum"))

    def _number(self, schema):
        low = schema.get("exclusiveMinimum", schema.get("minimum"))
        exclusive = "exclusiveMinimum" in schema
        return st.floats(low, exclude_min=exclusive, allow_nan=False, allow_infinity=False)

    def _boolean(self, schema):
        return st.booleans()

    def _null(self, schema):
        return st.none()

    @st.composite
    def requests(draw, self):  # noqa: N805 - composite hands ``draw`` in first
        """Return method, path, headers and body of a request to some path of the document."""
        path = draw(st.sampled_from(sorted(self._document["paths"])))
        method, operation = draw(st.sampled_from(sorted(self._document["paths"][path].items())))
        dice = random.Random(draw(st.integers(0, 2**32 - 1)))
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        body = b"" if content is None else _body(dice, draw(self.values(content["schema"])))
        path = re.sub(r"\{\w+\}", lambda _: dice.choice(SEGMENTS), path)
        if dice.random() < 0.1:
            method = dice.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"))
        if dice.random() < 0.1:
            path += dice.choice(("/", "//", "?a=b", "?model=%00", "/%2e%2e", "/..", "%ff", "#x", ";a"))
        return method.upper(), path, _headers(dice), body


def _body(dice, value):
    """Write a valid value; spoil it in four of six cases."""
    kind = dice.randrange(6)
    for _ in range({2: 1, 3: dice.randint(2, 5)}.get(kind, 0)):
        value = spoil(dice, value)
    body = as_json(value)
    return scramble(dice, body) if kind > 3 else body


def _headers(dice):
    names = dice.sample(sorted(HEADERS), dice.choice((0, 0, 1, 2)))
    return {name: dice.choice(HEADERS[name]) for name in names}

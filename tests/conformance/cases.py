"""Cases from a seed: requests that must be answered, requests that must be refused, and what they are called.

A *kind* is the name of a case; the table of divergences speaks of kinds.
"""

import gzip
import itertools
import json
import random
import zlib
from dataclasses import dataclass, field

import numpy as np

from tests.conformance.wire import DTYPES, LENGTH, Request, binary_input, infer, json_input

ANSWERED, REFUSED, TOLD = "answered", "refused", "told"


@dataclass(frozen=True)
class Case:
    """A request and what must come of it: an inference answered, a refusal, or something told in JSON."""

    kind: str
    request: Request
    outcome: str
    outputs: tuple = ()
    binary: tuple = ()
    id: str | None = None
    classes: bool = False
    round: int | None = None
    """Cases of one round send the same tensors and must get the same values."""


@dataclass(frozen=True)
class Model:
    """What the metadata of a model says, and which values it takes."""

    name: str
    version: str
    inputs: list
    outputs: list
    integers: tuple = (2, 10)
    largest: int = 5
    words: tuple = ("a",)

    @property
    def path(self):
        return f"/v2/models/{self.name}"

    def tensors(self, dice):
        """Return an array for each input; the first free axis of all is the batch."""
        rows = dice.randint(1, 4)
        return {entry["name"]: self._tensor(entry, rows, dice) for entry in self.inputs}

    def _tensor(self, entry, rows, dice):
        sizes = [size if size >= 0 else dice.randint(1, self.largest) for size in map(int, entry["shape"])]
        if int(entry["shape"][0]) < 0:
            sizes[0] = rows
        count, datatype = int(np.prod(sizes)), entry["datatype"]
        if datatype == "BYTES":
            values = np.array([dice.choice(self.words).encode() for _ in range(count)], dtype=object)
        elif datatype == "BOOL":
            values = np.array([dice.random() < 0.5 for _ in range(count)])
        elif datatype.startswith(("INT", "UINT")):
            values = np.array([dice.randint(*self.integers) for _ in range(count)], DTYPES[datatype])
        else:
            values = np.array([dice.uniform(-1, 1) for _ in range(count)], DTYPES[datatype])
        return values.reshape(sizes)

    def datatype(self, name):
        return next(entry["datatype"] for entry in self.inputs if entry["name"] == name)


@dataclass
class Round:
    """The tensors of one round, and the ways to send them rightly and wrongly."""

    model: Model
    dice: random.Random
    number: int
    arrays: dict = field(init=False)

    def __post_init__(self):
        self.arrays = self.model.tensors(self.dice)
        self.path = self.model.path + "/infer"
        self.first = next(iter(self.arrays))

    def json_inputs(self, **form):
        return [
            json_input(name, self.model.datatype(name), each, **form) for name, each in self.arrays.items()
        ]

    def binary_inputs(self):
        pairs = [binary_input(name, self.model.datatype(name), each) for name, each in self.arrays.items()]
        return [entry for entry, _ in pairs], [data for _, data in pairs]

    def cases(self):
        yield from self.answered()
        yield from self.told()
        yield from self.refused()

    # Requests that must be answered

    def answered(self):
        names = tuple(entry["name"] for entry in self.model.outputs)
        some = tuple(self.dice.sample(names, self.dice.randint(1, len(names))))
        plain, (entries, parts) = self.json_inputs(), self.binary_inputs()
        every = {"outputs": names, "round": self.number}

        def case(kind, request, **expected):
            return Case(kind, request, ANSWERED, **(every | expected))

        yield case("flat JSON", infer(self.path, plain))
        yield case("nested JSON", infer(self.path, self.json_inputs(nested=True)))
        yield case("bytes in", infer(self.path, entries, parts))
        wish = {"parameters": {"binary_data_output": True}}
        yield case("bytes out", infer(self.path, plain, **wish), binary=names)
        yield case("bytes in and out", infer(self.path, entries, parts, **wish), binary=names)
        yield case("bytes and JSON in", infer(self.path, [entries[0], *plain[1:]], parts[:1]))
        flags = {name: self.dice.random() < 0.5 for name in some}
        wanted = [{"name": name, "parameters": {"binary_data": flag}} for name, flag in flags.items()]
        chosen = tuple(name for name, flag in flags.items() if flag)
        yield case("some outputs", infer(self.path, plain, outputs=wanted), outputs=some, binary=chosen)
        yield case(
            "an output's flag over the request's",
            infer(self.path, plain, outputs=wanted, **wish),
            outputs=some,
            binary=chosen,
        )
        yield case("id", infer(self.path, plain, id=f"request {self.number}"), id=f"request {self.number}")
        version = f"{self.model.path}/versions/{self.model.version}/infer"
        yield case("version in the path", infer(version, plain))
        parameters = {"colour": "red", "size": 2, "ratio": 0.5, "wet": False}
        yield case("parameters of one's own", infer(self.path, plain, parameters=parameters))
        for name, squeeze in (("gzip", gzip.compress), ("deflate", zlib.compress)):
            small = infer(self.path, entries, parts, {"Content-Encoding": name})
            small = Request(small.method, small.path, small.headers, squeeze(small.body))
            yield case(f"{name} in", small)
            yield case(f"{name} out", infer(self.path, plain, headers={"Accept-Encoding": name}))
        wrong = {"Content-Type": "application/octet-stream"}
        yield case("JSON called bytes", infer(self.path, plain, headers=wrong))
        name = self.model.outputs[-1]["name"]
        classes = [{"name": name, "parameters": {"classification": 2}}]
        yield case("classes", infer(self.path, plain, outputs=classes), outputs=(name,), classes=True)

    # What a server tells about itself

    def told(self):
        model, version = self.model.path, f"{self.model.path}/versions/{self.model.version}"
        for kind, path in {
            "live": "/v2/health/live",
            "ready": "/v2/health/ready",
            "server metadata": "/v2",
            "model metadata": model,
            "model metadata by version": version,
            "model ready": f"{model}/ready",
            "model ready by version": f"{version}/ready",
            "model configuration": f"{model}/config",
            "statistics": f"{model}/stats",
        }.items():
            yield Case(kind, Request("GET", path), TOLD)
        yield Case("index", Request("POST", "/v2/repository/index"), TOLD)

    # Requests that must be refused

    def refused(self):
        for kind, request in itertools.chain(
            self._wrong_tensors(), self._wrong_bodies(), self._wrong_paths()
        ):
            yield Case(kind, request, REFUSED)

    def _wrong_tensors(self):
        plain, (entries, parts) = self.json_inputs(), self.binary_inputs()
        name, array = self.first, self.arrays[self.first]
        shape, datatype = list(array.shape), self.model.datatype(name)

        def first(**changes):
            return infer(self.path, [plain[0] | changes, *plain[1:]])

        def first_binary(**changes):
            return infer(self.path, [entries[0] | changes, *entries[1:]], parts)

        values = plain[0]["data"]
        other = "FP32" if datatype != "FP32" else "FP64"
        yield "no inputs", infer(self.path, [])
        yield "an input is missing", infer(self.path, plain[1:])
        yield "an input that is none", infer(self.path, [*plain, plain[0] | {"name": "nobody"}])
        yield "an input with another name", first(name="nobody")
        yield "an input twice", infer(self.path, [plain[0], *plain])
        yield "another datatype", first(datatype=other)
        yield "a datatype that is none", first(datatype="INT128")
        yield "too few elements", first(data=values[:-1])
        yield "too many elements", first(data=[*values, values[0]])
        yield "null in the data", first(data=[None, *values[1:]])
        yield "an object in the data", first(data=[{}, *values[1:]])
        yield "data is no list", first(data="many")
        if datatype != "BYTES":
            yield "text in the data", first(data=["1", *values[1:]])
        if datatype.startswith(("INT", "UINT")):
            yield "a fraction among integers", first(data=[1.5, *values[1:]])
            yield "a number beyond the datatype", first(data=[2**70, *values[1:]])
        without_data = {key: value for key, value in plain[0].items() if key != "data"}
        yield "no data", infer(self.path, [without_data, *plain[1:]])
        yield "one axis too many", first(shape=[*shape, 1])
        yield "one axis too few", first(shape=[int(np.prod(shape))])
        deeper = values
        for _ in shape:
            deeper = [deeper]
        yield "nested like another shape", first(data=deeper)
        yield "a size of zero", first(shape=[shape[0], *[0] * (len(shape) - 1)], data=[])
        yield "a negative size", first(shape=[-size for size in shape])
        yield "a size that is no integer", first(shape=[str(size) for size in shape])
        yield "a shape beyond memory", first_binary(shape=[2**40] * len(shape))
        if len(self.arrays) > 1:
            more = np.concatenate([array, array])
            yield (
                "different numbers of rows",
                infer(self.path, [json_input(name, datatype, more), *plain[1:]]),
            )
        yield "fewer bytes than the shape", first_binary(shape=[shape[0] + 1, *shape[1:]])
        long = entries[0] | {"parameters": {"binary_data_size": 10**9}}
        yield "binary_data_size beyond the body", infer(self.path, [long, *entries[1:]], parts)
        negative = entries[0] | {"parameters": {"binary_data_size": -1}}
        yield "negative binary_data_size", infer(self.path, [negative, *entries[1:]], parts)
        yield "bytes left over", infer(self.path, entries, [*parts, b"more"])
        yield "data and bytes", first_binary(data=values)

    def _wrong_bodies(self):
        plain, (entries, parts) = self.json_inputs(), self.binary_inputs()
        good = infer(self.path, entries, parts)

        def body(content, **headers):
            return Request("POST", self.path, headers, content)

        def with_length(value):
            return Request("POST", self.path, {LENGTH: value}, good.body)

        yield "an empty body", body(b"")
        yield "a body that is no JSON", body(self.dice.choice([b"{", b"hello", b"\xff\xfe", b"[1,"]))
        yield "a body that is no object", body(self.dice.choice([b"[]", b"1", b'"text"', b"null"]))
        yield "a body nested deeply", body(b"[" * 5000 + b"]" * 5000)
        yield "inputs is no list", body(json.dumps({"inputs": {}}).encode())
        yield "an output that is none", infer(self.path, plain, outputs=[{"name": "nobody"}])
        yield "a parameter that is an object", infer(self.path, plain, parameters={"a": {"b": 1}})
        yield "an id that is no text", infer(self.path, plain, id=7)
        yield "the JSON is longer than the body", with_length(str(len(good.body) + 1))
        yield "the JSON has a negative length", with_length("-1")
        yield "the length of the JSON is no number", with_length("many")
        unknown = {"Content-Encoding": "brotli-like"}
        yield "an encoding that is none", infer(self.path, plain, headers=unknown)
        damaged = gzip.compress(good.body)[:-6]
        yield "gzip that is cut off", body(damaged, **{"Content-Encoding": "gzip", **good.headers})
        yield "no gzip at all", body(good.body, **{"Content-Encoding": "gzip", **good.headers})
        region = {"shared_memory_region": "nobody", "shared_memory_byte_size": 8}
        yield (
            "a region of memory that is none",
            infer(
                self.path,
                [{key: value for key, value in plain[0].items() if key != "data"} | {"parameters": region}],
            ),
        )

    def _wrong_paths(self):
        plain = self.json_inputs()
        nobody = f"/v2/models/nobody{self.number}"
        yield "metadata of a model that is none", Request("GET", nobody)
        yield "a model that is none", infer(f"{nobody}/infer", plain)
        yield "a version that is none", infer(f"{self.model.path}/versions/999/infer", plain)
        yield "a name that climbs", infer("/v2/models/..%2f..%2fetc/infer", plain)
        yield "a path that is none", Request("GET", "/v2/nothing/here")
        yield "the wrong method", Request("GET", self.path)

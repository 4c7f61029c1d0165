"""Ways to spoil what was good: one place of a JSON value, or some bytes."""

import copy
import json

JUNK = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 2**70, 10**400, 1.5, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", " ", "x" * 3000, "\x00", "\ud800", "💥", "../../etc", "a/b", "1"),
    *([], {}, [[]], [None], {"": {}}, [1, "a", None], [2**62] * 20, [0] * 40, [-1, -1]),
)
"""Values that somebody may put where they do not belong."""

PIECES = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b'"',
    b"{",
    b"[",
    b"]}",
    b"\\u0000",
    b"\\ud800",
    b"NaN",
    b"-",
    b"1e999",
    b",,",
)


def spoil(dice, value):
    """Return a copy of a JSON value with one place replaced, removed, doubled, renamed or wrapped."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return dice.choice(JUNK)
    holder, key = dice.choice(places)
    match dice.randrange(6):
        case 0:
            del holder[key]
        case 1:
            holder[key] = [holder[key]] * dice.randint(1, 3)
        case 2 if isinstance(holder, dict):
            holder[dice.choice(("", "x", "name", "\x00", key + "s"))] = holder.pop(key)
        case 3:
            holder[key] = copy.deepcopy(dice.choice(places)[0])
        case _:
            holder[key] = copy.deepcopy(dice.choice(JUNK))
    return value


def _places(value):
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def scramble(dice, data):
    """Return bytes of which a few were changed, cut out, put in or repeated."""
    data = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice((0, 1, 1, 2, 4, 50)))
        match dice.randrange(4):
            case 0:
                data[start:end] = dice.randbytes(end - start)
            case 1:
                data[start:end] = dice.choice(PIECES)
            case 2:
                data[start:start] = data[start:end] * dice.randint(1, 5)
            case 3:
                del data[start:end]
    return bytes(data)


def as_json(value):
    """Write a value as JSON, or as what Python takes for it: ``NaN`` and lone surrogates included."""
    return json.dumps(value).encode()

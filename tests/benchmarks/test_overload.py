import pytest

from benchmarks.open_loop import Shot
from benchmarks.overload import CLOSED, SATURATION, STEP, Phase, bars, saturate


def shots(count, status=200, latency=0.01, told=True):
    return [Shot(1.0, 1.0, 1.0 + latency, status, status == 429 and told) for _ in range(count)]


def phase(*made):
    return Phase("any", 100.0, [shot for part in made for shot in part])


def test_saturation_is_the_first_rate_that_is_refused():
    asked = []

    def fire(posts, rate):
        asked.append(rate)
        return shots(98) + shots(2, 429 if rate > 110 else 200)

    first, saturation = saturate(fire, [b"x"], 100.0)
    assert asked == pytest.approx([100, 100 * STEP, 100 * STEP**2])
    assert (first.name, first.rate) == (CLOSED, 100.0)
    assert (saturation.name, saturation.rate) == (SATURATION, asked[-1])


def test_a_server_that_refuses_at_once_is_saturated_at_once():
    first, saturation = saturate(lambda *_: shots(9) + shots(1, 429), [b"x"], 100.0)
    assert first.rate == saturation.rate == 100.0


def test_the_bars_hold_for_a_server_that_keeps_them():
    calm = phase(shots(99))
    full = phase(shots(50, latency=0.08), shots(50, 429, 0.002), shots(9, 504, 0.035))
    found = bars([calm, calm, phase(shots(50, latency=0.014), shots(50, 429, 0.002)), full], 30)
    assert [row[3] for row in found] == ["yes", "yes", "yes", "yes", ""]
    assert [row[1] for row in found] == ["5.0 ms", "2.0 ms", "0", "1.40", "1.40"]


def test_each_broken_bar_is_told():
    calm = phase(shots(99))
    twice = phase(shots(50, latency=0.016), shots(50, 429, 0.021, told=False))
    found = bars([calm, calm, twice, phase(shots(9, 504, 0.081))], 30)
    assert [row[3] for row in found] == ["no", "no", "no", "no", ""]


def test_a_deadline_that_nobody_missed_holds():
    calm = phase(shots(99), shots(1, 429))
    assert bars([calm] * 4, 30)[0][1:] == ["none", "50 ms", "yes"]


def test_a_phase_tells_counts_and_percentiles_by_status():
    told = phase(shots(3), shots(2, 429, 0.002), shots(1, 0)).numbers()["by_status"]
    assert {status: found["count"] for status, found in told.items()} == {"200": 3, "429": 2}
    assert told["429"]["p50"] == pytest.approx(2.0)

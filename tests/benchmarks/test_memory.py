import pytest

from benchmarks.memory import growth


@pytest.mark.parametrize("minutes", [[], [140.0], [140.0, 150.0, 151.0]], ids=len)
def test_a_short_soak_tells_nothing(minutes):
    assert growth(minutes) == "too short to tell"


def test_a_soak_compares_its_last_minute_with_the_third():
    told = growth([140.0, 149.0, 150.0, 152.0, 153.0])
    assert told.startswith("minute 3 is 150.0 MB, minute 5 is 153.0 MB: 1.020 times as much")

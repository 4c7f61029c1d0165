import gc
import weakref

import pytest

from server.runtime.garbage import look_again, set_aside


class Circle:
    """An object that only the collector can free."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def as_before():
    yield
    gc.unfreeze()


def test_what_was_set_aside_is_not_looked_at_until_it_is_asked_for():
    circle = Circle()
    gone = weakref.ref(circle)
    set_aside()
    assert gc.get_freeze_count()
    del circle
    gc.collect()
    assert gone() is not None
    look_again()
    assert gone() is None
    assert gc.get_freeze_count()


def test_a_process_that_set_nothing_aside_is_left_alone():
    look_again()
    assert not gc.get_freeze_count()

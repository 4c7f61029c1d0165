import pytest

from tests.fuzz.target import Target


@pytest.fixture(scope="module")
def target():
    server = Target()
    yield server
    server.kill()

"""Fixtures for every test of the server: a tiny bundle on disk, and a session that knows its answers."""

import pytest
from hypothesis import settings

from server.contract.bundle import Bundle
from tests.server.fakes import FakeSession, write_bundle

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")


@pytest.fixture
def repository_folder(tmp_path):
    """A model repository with one bundle, ``tiny``, that answers by arithmetic."""
    write_bundle(tmp_path / "models" / "tiny")
    return tmp_path / "models"


@pytest.fixture
def bundle(repository_folder):
    return Bundle.open(repository_folder / "tiny", 1)


@pytest.fixture
def session():
    return FakeSession()

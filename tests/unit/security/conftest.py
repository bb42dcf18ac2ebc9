"""What must never come to be."""

import pytest


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"

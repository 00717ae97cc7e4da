"""Users' files import their registry by sedna's name."""

import pytest

from core.common import class_factory


@pytest.fixture(autouse=True)
def registry():
    class_factory.install()

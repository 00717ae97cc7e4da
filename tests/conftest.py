"""Tests give the same result at every run and on every machine, busy or not; processes that they start can be interrupted."""

import os
import signal
import tempfile
from contextlib import suppress

import pytest
from hypothesis import settings

from multiedge.files import cache_folder

settings.register_profile("repository", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("repository")

# Plans of tests do not depend on the machine, and commands that tests start do not calibrate it.
os.environ["MULTIEDGE_REFERENCE"] = "declared"

# Started by nohup, by a background shell or by some CI systems, pytest ignores SIGINT, and so would what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A failure that the code causes comes each time; a host that other work keeps busy is seldom so for all attempts.
AGAIN, PAUSE_S = 4, 15


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of measured times are tried up to five times. Pytest counts each repetition; other tests get none."""
    for test in items:
        if test.get_closest_marker("timing"):
            test.add_marker(pytest.mark.flaky(reruns=AGAIN, reruns_delay=PAUSE_S, only_rerun=["AssertionError"]))


def pytest_configure(config: pytest.Config) -> None:
    """Tests neither read nor write what the user's runs keep; converters' environments, which take minutes, are shared."""
    if hasattr(config, "workerinput"):
        return  # a worker of pytest-xdist has inherited the folder, so that what one has measured serves all
    environments = cache_folder("environments")
    folder = tempfile.TemporaryDirectory(prefix="tests-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name
    with suppress(OSError):  # without a home folder that can be written, tests set up no environments
        environments.mkdir(parents=True, exist_ok=True)
    cache_folder("").mkdir(parents=True)
    cache_folder("environments").symlink_to(environments.absolute())

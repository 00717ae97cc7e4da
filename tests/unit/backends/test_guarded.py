import os
from pathlib import Path

import numpy as np
import pytest

from multiedge.backends.contract import DirectSession
from multiedge.backends.guarded import GuardedSession, OpenFiles, guarded
from multiedge.backends.synthetic import SyntheticBackend
from multiedge.errors import ChangedError
from tests.builders.flow import FakeSession, vector


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(100))
    os.utime(path, ns=(0, 1_000_000_000))
    return path


def guarded_fake(weights: Path) -> tuple[GuardedSession, FakeSession]:
    session = FakeSession(lambda tensors: {"y": tensors["x"] + 1})
    return GuardedSession(session, OpenFiles([weights])), session


def test_answers_pass_while_nothing_is_written(weights: Path) -> None:
    session, _ = guarded_fake(weights)
    assert np.array_equal(session.run({"x": vector(1)})["y"], vector(2))
    assert (session.inputs, session.outputs, session.batch_is_free) == (("x",), ("y",), False)
    assert session.provider.name == "fake"


def test_no_answer_passes_once_the_weights_are_written_to(weights: Path) -> None:
    session, _ = guarded_fake(weights)
    with open(weights, "r+b") as file:
        file.write(b"x")
    with pytest.raises(ChangedError, match=r"'weights.bin' has changed since it was loaded; write the parts again"):
        session.run({"x": vector(1)})


def test_weights_that_are_replaced_stay_as_they_were_for_who_has_them_open(weights: Path) -> None:
    session, _ = guarded_fake(weights)
    other = weights.with_name("other")
    other.write_bytes(b"x")
    os.replace(other, weights)
    assert np.array_equal(session.run({"x": vector(1)})["y"], vector(2))


def test_closing_closes_the_files_and_the_session(weights: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    session, inner = guarded_fake(weights)
    session.close()
    assert inner.closed
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


def test_a_session_that_writes_outputs_where_they_are_needed_still_does_and_is_guarded(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text('{"inputs": ["x"], "outputs": {"y": {"shape": [4], "dtype": "float32"}}}')
    session = guarded(SyntheticBackend().open(tmp_path / "stage.json"), OpenFiles([weights]))
    assert isinstance(session, DirectSession)
    place = np.ones(4, np.float32)
    assert session.run_into({"x": vector(1)}, {"y": place})["y"] is place
    assert list(session.fixed) == ["y"]
    weights.write_bytes(b"others")
    with pytest.raises(ChangedError):
        session.run_into({"x": vector(1)}, {"y": place})
    session.close()

"""The limit of open files is compared before workers start."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from unittest.mock import Mock

import pytest

from multiedge.errors import PipelineError
from multiedge.executors import open_pipeline
from multiedge.executors.workers.open_files import require_open_files
from tests.builders.pipelines import synthetic_chain, synthetic_fleet


def test_too_many_workers_are_refused_with_the_limit_that_they_need() -> None:
    require_open_files(10, limit=132, opened=20)
    with pytest.raises(PipelineError) as caught:
        require_open_files(10, limit=131, opened=20)
    assert str(caught.value) == "10 workers need up to 132 open files, and this process may have 131; raise it: ulimit -n 132"


def test_where_no_file_can_be_opened_to_count_them_the_limit_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(PipelineError, match=r"1 workers need up to 80 open files, and this process may have 40; raise it"):
        require_open_files(1, limit=40)


def test_a_pipeline_beyond_the_limit_is_one_line_before_its_start(tmp_path: Path) -> None:
    manifest = synthetic_chain(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    try:
        with pytest.raises(PipelineError, match=r"3 workers need up to \d+ open files, and this process may have 40; raise it"):
            open_pipeline(manifest, synthetic_fleet(3))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""The logger writes to what stderr is at that moment, and to nothing else."""

import contextlib
import io
import logging

from core.common.log import LOGGER, _logger


def test_a_line_goes_to_the_present_stderr_and_not_to_stdout(capsys):
    first, second = io.StringIO(), io.StringIO()
    for stream in (first, second):
        with contextlib.redirect_stderr(stream):
            LOGGER.info("progress")
    assert first.getvalue().count("progress") == second.getvalue().count("progress") == 1
    assert capsys.readouterr().out == ""


def test_a_line_says_where_and_how_serious():
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        LOGGER.error("it broke")
    assert stream.getvalue().rstrip().endswith("[ERROR] - it broke")
    assert "test_log.py(" in stream.getvalue()


def test_details_are_left_out():
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        LOGGER.debug("detail")
    assert stream.getvalue() == ""


def test_making_it_again_adds_no_second_handler():
    before = list(LOGGER.handlers)
    assert _logger() is LOGGER
    assert before == LOGGER.handlers


def test_lines_are_not_handed_on_to_the_root_logger():
    seen = []

    class Root(logging.Handler):
        def emit(self, record):
            seen.append(record)

    handler = Root()
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            LOGGER.info("once")
    finally:
        logging.getLogger().removeHandler(handler)
    assert seen == []

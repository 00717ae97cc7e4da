"""What becomes of the answers of a run on the command line: dropped, or written to a folder as they come."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

from multiedge.errors import ConfigError, MultiedgeError
from multiedge.executors.flow.contract import Result
from multiedge.files import require_writable
from multiedge.onnx_io.npz import write_npz
from multiedge.run import PlanRun

log = logging.getLogger(__name__)

Ending = KeyboardInterrupt | SystemExit | MultiedgeError
"""What can end a run early: Ctrl-C, SIGTERM, or an error that stops the pipeline."""


class OutputFolder:
    """Writes the outputs of each item to `folder`/ITEM.npz; a folder that cannot be written costs no run.

    ConfigError if it cannot be written at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.refusal: ConfigError | None = None
        require_writable(folder / _name(0))

    def take(self, result: Result) -> None:
        if result.tensors is None or self.refusal is not None:
            return
        try:
            write_npz(self._folder / _name(result.item), result.tensors)
        except ConfigError as error:
            self.refusal = error
            log.warning("no outputs are written from item %d on: %s", result.item, error)


def take_answers(run: PlanRun, outputs: OutputFolder | None) -> Ending | None:
    """Runs every item; what ended the run early, None if nothing did. It raises what ends it before the timed window."""
    try:
        with closing(iter(run)) as results:
            for result in results:
                if outputs is not None:
                    outputs.take(result)
    except (KeyboardInterrupt, SystemExit, MultiedgeError) as ending:
        if not run.has_begun:
            raise
        return ending
    return None


def _name(item: int) -> str:
    return f"{item:06}.npz"

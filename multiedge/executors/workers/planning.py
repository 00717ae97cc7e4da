"""Plans that are made while the items of the old one go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from multiedge.executors.workers.observation import PlanFailed, PlanReady
from multiedge.fleet import Fleet
from multiedge.plan import Manifest

log = logging.getLogger(__name__)


class Planner:
    """Makes one plan at a time, in a thread; of several requests that wait, the last one counts."""

    def __init__(self, replan: Callable[[Fleet], Manifest]) -> None:
        self._replan = replan
        self._lock = threading.Lock()
        self._wanted: Fleet | None = None
        self._is_busy = False
        self._made: PlanReady | PlanFailed | None = None

    def request(self, fleet: Fleet) -> None:
        """Returns immediately. The thread does not keep the program from ending."""
        with self._lock:
            self._wanted = fleet
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._work, name="planner", daemon=True).start()

    def take(self) -> PlanReady | PlanFailed | None:
        """The plan that was made last; None if there is no new one."""
        with self._lock:
            made, self._made = self._made, None
            return made

    def _work(self) -> None:
        while True:
            with self._lock:
                fleet, self._wanted = self._wanted, None
                if fleet is None:
                    self._is_busy = False
                    return
            made = self._make(fleet)
            with self._lock:
                self._made = made

    def _make(self, fleet: Fleet) -> PlanReady | PlanFailed:
        try:
            return PlanReady(fleet, self._replan(fleet))
        except Exception as error:  # a strategy or a disk that fails must not end a run that can go on without a new plan
            log.warning("no new plan, the stages stay as they were cut: %s", error)
            return PlanFailed(fleet, str(error))

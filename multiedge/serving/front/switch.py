"""The offload switch of a device."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from multiedge.serving.front.offload import OffloadMode, OffloadRules, OffloadView, Switch, first_switch, switched

log = logging.getLogger(__name__)


class OffloadSwitch:
    """Whether requests may leave the device. Safe between threads; a request reads it once, by `decide`.

    Args:
        rules: Who decides.
        look: What is seen of the device now.
    """

    def __init__(
        self,
        rules: OffloadRules,
        look: Callable[[], OffloadView] = OffloadView,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self._look, self._now = look, clock
        self._lock = threading.Lock()
        self.state: Switch = first_switch(rules, clock())

    @property
    def is_on(self) -> bool:
        """Whether requests may leave."""
        return self.state.is_on

    def off_for_s(self) -> float:
        """How long it has been off; 0 while it is on."""
        state = self.state
        return 0.0 if state.is_on else self._now() - state.since_s

    def decide(self, stated: bool | None) -> bool:
        """Whether the request that states this may leave. With mode 'request' it turns the switch."""
        if stated is not None and self.rules.mode is OffloadMode.REQUEST:
            self._turn(OffloadView(stated=stated))
        is_on = self.state.is_on
        if stated is None or self.rules.mode is OffloadMode.OFF:
            return is_on
        return stated

    def look(self) -> None:
        """Looks at the device, and turns the switch if that is due."""
        if self.rules.mode is OffloadMode.AUTO:
            self._turn(self._look())

    def _turn(self, view: OffloadView) -> None:
        with self._lock:
            before = self.state
            self.state = after = switched(self.rules, view, before, self._now())
        if before.is_on != after.is_on:
            log.info("offload is %s: %s", "on" if after.is_on else "off", after.because.value)

"""Which power meters answer for the devices of a run, on this machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from multiedge.fleet import Device
from multiedge.meters.power import PowerMeter, open_meter
from multiedge.meters.provider import Unavailable

log = logging.getLogger(__name__)


def open_meters(devices: Sequence[Device], *, is_emulated: bool) -> list[PowerMeter]:
    """A meter for each device that one answers for: its own GPU's, or the machine's if it is the only device and real.

    Devices without one are left out; `multiedge.meters.modelled` works theirs out from declared watts.
    """
    alone = len(devices) == 1 and not is_emulated
    found = []
    for device in devices:
        try:
            found.append(open_meter(device.name, gpu=device.gpu, whole_machine=alone))
        except Unavailable as reason:
            log.debug("power of '%s' is not measured: %s", device.name, reason)
    return found

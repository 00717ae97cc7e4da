"""The power meters of this machine that measure the devices of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from multiedge.fleet import Device
from multiedge.meters.power import PowerMeter, open_meter
from multiedge.meters.provider import Unavailable

log = logging.getLogger(__name__)


def open_meters(devices: Sequence[Device], *, is_emulated: bool) -> list[PowerMeter]:
    """A meter for each device that can be measured: its GPU's meter, or the machine's if it is the only device and not
    emulated.

    Other devices are left out; `multiedge.meters.modelled` computes their energy from declared watts.
    """
    alone = len(devices) == 1 and not is_emulated
    meters = []
    for device in devices:
        try:
            meters.append(open_meter(device.name, gpu=device.gpu, whole_machine=alone))
        except Unavailable as reason:
            log.debug("power of '%s' is not measured: %s", device.name, reason)
    return meters

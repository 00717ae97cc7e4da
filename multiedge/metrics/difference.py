"""How far two values of one tensor are apart: the one comparison of outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """How far a tensor is from the expected one: the largest absolute difference, and the largest finite magnitude that was
    expected."""

    absolute: float
    scale: float

    @property
    def relative(self) -> float:
        """The largest difference over the largest magnitude; infinite where only zeros were expected and something differs."""
        if self.absolute == 0:
            return 0.0
        return self.absolute / self.scale if self.scale > 0 else math.inf


def difference(expected: Array, actual: Array) -> Difference:
    """The largest difference of two arrays of one shape.

    Equal infinities do not differ, nor do two NaNs; any other pair that is not finite differs infinitely. Values that are no
    numbers differ by 0 where all are equal, and otherwise infinitely.
    """
    if not expected.size:
        return Difference(0.0, 0.0)
    if expected.dtype.kind not in "biufcV" or actual.dtype.kind not in "biufcV":
        return Difference(0.0 if np.array_equal(expected, actual) else math.inf, 1.0)
    kinds = {expected.dtype.kind, actual.dtype.kind}
    # Of 64-bit integers float64 keeps 53 bits.
    wide = np.complex128 if "c" in kinds else np.longdouble if kinds <= {"i", "u"} else np.float64
    whole, parts = expected.astype(wide), actual.astype(wide)
    is_same = (whole == parts) | (np.isnan(whole) & np.isnan(parts))
    scale = float(np.abs(whole[np.isfinite(whole)]).max(initial=0.0))
    if not (np.isfinite(whole) & np.isfinite(parts) | is_same).all():
        return Difference(math.inf, scale)
    return Difference(float(np.abs(whole[~is_same] - parts[~is_same]).max(initial=0.0)), scale)

"""How far two values of one tensor are apart: the one comparison of outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def largest_difference(expected: Array, actual: Array) -> tuple[float, float]:
    """The largest absolute difference of two arrays of one shape, and the largest finite magnitude that was expected.

    Equal infinities do not differ, nor do two NaNs; any other pair that is not finite differs infinitely. Values that are no
    numbers differ by 0 where all are equal, and otherwise infinitely.
    """
    if not expected.size:
        return 0.0, 0.0
    if expected.dtype.kind not in "biufcV" or actual.dtype.kind not in "biufcV":
        return (0.0 if np.array_equal(expected, actual) else np.inf), 1.0
    kinds = {expected.dtype.kind, actual.dtype.kind}
    # Of 64-bit integers float64 keeps 53 bits.
    wide = np.complex128 if "c" in kinds else np.longdouble if kinds <= {"i", "u"} else np.float64
    whole, parts = expected.astype(wide), actual.astype(wide)
    is_same = (whole == parts) | (np.isnan(whole) & np.isnan(parts))
    finite = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    if not (np.isfinite(whole) & np.isfinite(parts) | is_same).all():
        return np.inf, float(finite)
    return float(np.abs(whole[~is_same] - parts[~is_same]).max(initial=0.0)), float(finite)

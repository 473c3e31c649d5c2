"""Sameness, which is more than equality: the types too, and NaN, and the sign of zero."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from unimsg.bodies import Fields
from unimsg.values import Vector


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in type and value: NaN is NaN, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and math.copysign(1, one) == math.copysign(1, other))
    if isinstance(one, Decimal):
        return one == other and format(one, "f") == format(other, "f")
    if isinstance(one, (Vector, list, tuple)):
        return getattr(one, "of", None) == getattr(other, "of", None) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, Fields):
        return same(list(one), list(other))
    return bool(one == other)

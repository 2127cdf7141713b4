"""Arrays and text as JSON that an HTML page can hold."""

import base64
import json
from typing import Any

import numpy as np
from jaxtyping import Num


def packed(numbers: Num[np.ndarray, "..."], kind: str = "f4") -> dict[str, str]:
    """Numbers as base64 of little-endian values (f4 or f8), which `unpack` of elements.js reads."""
    data = np.ascontiguousarray(numbers, np.dtype(kind).newbyteorder("<")).tobytes()
    return {"kind": kind, "data": base64.b64encode(data).decode()}


def script_json(values: Any) -> str:
    """JSON that ends no script element and begins no comment in one, whatever names a user's files have."""
    return json.dumps(values, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")

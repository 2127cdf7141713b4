"""The page: its parts and the data, packed, in one file, which nothing can be loaded into and which loads nothing."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Num

# In the order in which they are read: each uses those before it.
_SCRIPTS = ("elements", "glyphs", "view", "track_picture", "tracks", "motifs", "curves", "table", "results", "page")


def report_page(title: str, sections: Mapping[str, Any]) -> bytes:
    """Returns an HTML page in UTF-8.

    The Content-Security-Policy names the page's one script and one style by their digests and allows nothing else: no
    browser sends a request, and no name in the data can be run.

    Args:
        sections: `sources` (what was read, rows of two cells), and any of `tracks`, `motifs`, `results`, `variants`.
    """
    style = _part("page.css")
    script = "\n".join(_part(f"{name}.js") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps({"title": title, **sections}, allow_nan=False, separators=(",", ":"))
    parts = {
        "title": html.escape(title),
        "policy": policy,
        "style": style,
        "script": script,
        # Ends no script element and begins no comment in one, whatever names a user's files have.
        "data": data.replace("<", "\\u003c"),
    }
    # In one pass, so that nothing that is put in is taken for a place.
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))
    # What is no Unicode, as a file's name may be, is shown as such.
    return page.encode(errors="replace")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def packed(numbers: Num[np.ndarray, "..."], kind: str = "f4") -> dict[str, str]:
    """Returns numbers as base64 of little-endian values (f4 or f8), which `unpack` of elements.js reads."""
    data = np.ascontiguousarray(numbers, np.dtype(kind).newbyteorder("<")).tobytes()
    return {"kind": kind, "data": base64.b64encode(data).decode()}

"""The page: its parts and the data put into one file, which nothing can be loaded into and which loads nothing."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from dnabert_jax.interpret.report.packing import script_json

# In the order in which they are read: each uses those before it.
_SCRIPTS = ("elements", "glyphs", "view", "track_picture", "tracks", "motifs", "curves", "table", "results", "page")


def report_page(title: str, sections: Mapping[str, Any]) -> bytes:
    """An HTML page of UTF-8.

    The Content-Security-Policy names the page's one script and one style by their digests and allows nothing else: no
    browser sends a request, and no name in the data can be run.

    Args:
        sections: `sources` (what was read, rows of two cells), and any of `tracks`, `motifs`, `results`, `variants`.
    """
    style = _part("page.css")
    script = "\n".join(_part(f"script/{name}.js") for name in _SCRIPTS)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(title),
        "policy": policy,
        "style": style,
        "script": script,
        "data": script_json({"title": title, **sections}),
    }
    # In one pass, so that nothing that is put in is taken for a place.
    page = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))
    # What is no Unicode, as a file's name may be, is shown as such.
    return page.encode(errors="replace")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

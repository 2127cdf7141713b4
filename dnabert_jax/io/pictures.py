"""Pictures and other files that accompany a result. If one of them fails, the result stays."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnabert_jax.errors import first_line
from dnabert_jax.extras import require_extra
from dnabert_jax.io.text import valid_unicode

_LOG = logging.getLogger(__name__)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, whose colours remain distinct with colour vision deficiency."""
MARKS = "ovs^Dpx"
"""A marker for each color, so that lines remain distinct in a black and white print."""
_DATES = {".svg": "Date", ".pdf": "CreationDate"}


@contextmanager
def accompanying(path: Path, *others: Path) -> Iterator[None]:
    """Turns a failure inside into a warning, and removes what was written of the files."""
    try:
        yield
    except Exception as error:  # noqa: BLE001, whatever a drawing library raises
        for written in (path, *others):
            written.unlink(missing_ok=True)
        _LOG.warning("Warning: %s could not be written (%s). All else is complete.", path.name, first_line(error))


@contextmanager
def drawing(
    picture: Path, width: float, height: float, *printed: Path, font_size: float | None = None
) -> Iterator[Any]:
    """Yields a matplotlib figure of so many inches, then saves it; use it inside `accompanying`.

    Text is drawn as it is: a dollar sign does not start a formula. The same figure gives the same bytes.

    Args:
        picture: PNG file to write, with 300 dots per inch if it is printed too, else with 150.
        printed: further files, SVG or PDF, whose text stays text.
    """
    require_extra("figures", "A picture", "matplotlib")
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    settings: Any = {"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False}
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "", "pdf.fonttype": 42}
    settings |= {"font.size": font_size, "axes.titlesize": font_size} if font_size else {}
    with warnings.catch_warnings(), mpl.rc_context(settings):
        # Letters that the font does not have are drawn as boxes; a legend may take all the room there is.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for text in figure.findobj(Text):
            text.set_text(valid_unicode(text.get_text()))
        figure.savefig(picture, dpi=300 if printed else 150)
        if printed:
            figure.set_layout_engine("none")  # as it was found for the first file
        for path in printed:
            figure.savefig(path, metadata={_DATES[path.suffix]: None})

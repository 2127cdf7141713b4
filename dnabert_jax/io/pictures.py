"""Pictures and other files that accompany a result. If one of them fails, the result stays."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dnabert_jax.io.text import valid_unicode

_LOG = logging.getLogger(__name__)


@contextmanager
def accompanying(path: Path) -> Iterator[None]:
    """Turns a failure inside into a warning, and removes what was written of the file `path`."""
    try:
        yield
    except Exception as error:  # noqa: BLE001, whatever a drawing library raises
        path.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        _LOG.warning("Warning: %s could not be written (%s). All else is complete.", path.name, reason)


@contextmanager
def drawing(picture: Path, width: float, height: float) -> Iterator[Any]:
    """Yields a matplotlib figure of so many inches, then saves it as a PNG file; use it inside `accompanying`.

    Text is drawn as it is: a dollar sign does not start a formula.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with (
        warnings.catch_warnings(),
        mpl.rc_context({"text.parse_math": False, "text.usetex": False, "axes.formatter.use_mathtext": False}),
    ):
        # Letters that the font does not have are drawn as boxes; a legend may take all the room there is.
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for text in figure.findobj(Text):
            text.set_text(valid_unicode(text.get_text()))
        figure.savefig(picture, dpi=150)

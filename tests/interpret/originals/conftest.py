"""The original's own code, to be run on the random inputs on which ours is run.

    git clone https://github.com/jerryji1993/DNABERT /tmp/dnabert-original
    DNABERT_ORIGINAL=/tmp/dnabert-original pytest -m by_hand tests/interpret/originals

Nothing of it is in this repository. Where it imports what is old or not there (transformers 2.5, seaborn, statsmodels),
functions are taken out of its files; what a test replaces, it says.
"""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def original() -> Path:
    folder = os.environ.get("DNABERT_ORIGINAL")
    if not folder:
        pytest.skip("DNABERT_ORIGINAL names no checkout of github.com/jerryji1993/DNABERT")
    return Path(folder)

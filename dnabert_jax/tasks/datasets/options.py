"""How a data set is read, as the flags of commands say it."""

import dataclasses
from typing import Literal

from dnabert_jax.config import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is read.

    Attributes:
        problem: What the labels are; inferred if not given.
        literal_labels: Take labels such as NA, None and - for names of classes, not for missing labels.
        positive: Of two classes, the one that precision, recall, F1, curves and later explanations are of; found by its
            name if not given, as 1 of 0 and 1 or bound of bound and unbound.
        dev: What a dev split is where there is no test split: the validation split, or the test split as in the
            original's data.
        test_share: Share of the training split to measure on, where there is no test split.
        validation_share: Share of the training split to choose the best epoch by, where there is no validation split.
        keep_duplicates: Keep sequences of the training split that are in validation or test too.
    """

    problem: Problem | None = None
    literal_labels: bool = False
    positive: str = ""
    dev: Literal["validation", "test"] = "validation"
    test_share: float = 0.2
    validation_share: float = 0.1
    keep_duplicates: bool = False


USUAL_OPTIONS = DataOptions()

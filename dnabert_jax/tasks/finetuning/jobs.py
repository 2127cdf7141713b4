"""Says what a fine-tuning job learns from, in which order and at which rate: functions of the job alone.

n sequences, m of them, T windows, L tokens, C labels.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt16

from dnabert_jax.config import TaskConfig
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import PAD, SPECIAL_PER_SEQUENCE
from dnabert_jax.sequence.windows import Windows
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.training.state import Parameters


@dataclasses.dataclass(frozen=True)
class EncodedSplit:
    """Labelled sequences as ids.

    Attributes:
        ids: of all sequences end to end, each with its [CLS] and [SEP].
        offsets: where each begins, and where the last ends.
        targets: for each, the probability of each label, or the true values.
        tokenizer: made the ids.
        windows: how they are cut into rows; None if each is a row.
    """

    ids: UInt16[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " ends"]
    targets: Float[np.ndarray, "n C"]
    tokenizer: Tokenizer
    windows: Windows | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, " n"]:
        """The tokens of each sequence."""
        return np.diff(self.offsets)

    @functools.cached_property
    def other_strand(self) -> "EncodedSplit":
        """The reverse complements of the sequences."""
        return dataclasses.replace(self, ids=self.tokenizer.other_strand(self.ids, self.offsets))

    def rows(self, chosen: Int64[np.ndarray, " m"], shape: tuple[int, ...]) -> UInt16[np.ndarray, "m ..."]:
        """Returns padded rows of some sequences: [m, L], or with windows [m, T, L], as `encoding.batch_shape` says."""
        if self.windows is not None:
            return self.windows.rows(
                self.ids, self.offsets[chosen], self.lengths[chosen] - SPECIAL_PER_SEQUENCE, *shape
            )
        (length,) = shape
        positions = self.offsets[chosen][:, None] + np.arange(length)
        inside = np.arange(length) < self.lengths[chosen][:, None]
        return np.where(inside, self.ids[np.minimum(positions, len(self.ids) - 1)], PAD).astype(np.uint16)


@dataclasses.dataclass(frozen=True)
class Job:
    """One data set and one seed.

    Attributes:
        name: for the progress bar and results.
        seed: of everything that is random in it.
        classifier: what the last layer starts from, if not fresh; then the model as it starts may be the best.
    """

    name: str
    train: EncodedSplit
    validation: EncodedSplit
    seed: int
    classifier: Parameters | None = None


def learning_rate(config: FinetuneConfig, step: int, steps: int) -> float:
    """Returns the rate of the update after `step` others of `steps`: transformers' linear schedule with warm-up."""
    warmup = config.warmup_steps or round(config.warmup_share * steps)
    if step < warmup:
        return config.peak_learning_rate * step / warmup
    return config.peak_learning_rate * max(0.0, (steps - step) / max(1, steps - warmup))


def total_steps(config: FinetuneConfig, examples: int) -> int:
    """Returns the updates of a job that learns from so many sequences, if nothing stops it sooner."""
    if config.train == "probe":
        return 0
    return config.max_steps or config.epochs_of(examples) * -(-examples // config.batch_size)


def epoch_order(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """Returns the order of a job's sequences in an epoch: of the seed and the epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def epoch_strands(count: int, seed: int, epoch: int) -> Bool[np.ndarray, " n"]:
    """Returns which of a job's sequences an epoch reads as their reverse complements: each with probability 1/2."""
    return np.random.default_rng([seed, epoch, 1]).random(count) < 0.5


def smoothed(task: TaskConfig, targets: Float[np.ndarray, "m C"], share: float) -> Float[np.ndarray, "m C"]:
    """Returns targets with some of each spread over all labels, or over yes and no of each of several."""
    if share == 0 or task.problem == "regression":
        return targets
    among = targets.shape[1] if task.problem == "single_label_classification" else 2
    return targets * (1 - share) + share / among

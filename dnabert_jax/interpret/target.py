"""Which output of a model is explained: that of one label; and which models can be explained so."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import Array, Float, Int32

from dnabert_jax import stream
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.bound_head import Scale, label_output
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.stream import Coded


@dataclasses.dataclass(frozen=True)
class Target:
    """An output of a classifier or a regression.

    Attributes:
        number: of the label, from 0.
        scale: logit, probability, or log-odds against all other labels; a regression's numbers are its logits.
    """

    task: TaskConfig
    number: int
    scale: Scale

    @property
    def label(self) -> str:
        return self.task.labels[self.number]

    def rows(self, ids: Int32[np.ndarray, "B L"], tokenizer: Tokenizer) -> Int32[np.ndarray, "rows L"]:
        """Returns the rows that the model reads for sequences: each, and after it its other strand if it reads both."""
        return tokenizer.both_strands(ids) if self.task.strands == "both" else ids

    def output(self, model: DNAModel, hidden: Array, rows: Int32[np.ndarray, "rows L"]) -> Float[Array, " B"]:
        """Returns the output for sequences, given the hidden states of the last layer, [rows, L, H], of their rows."""
        return label_output(model.config, self.task, model.on_encoder, hidden, rows, self.number, self.scale)


def check_reads_whole(model: DNAModel, what: str) -> None:
    """Raises InputError if a model reads sequences in pieces or windows, of which there is no one [CLS]."""
    if model.task is not None and model.task.long != "none":
        raise InputError(
            f"{what} is for models that read a sequence whole: this one reads pieces of it ({model.task.long})."
        )


def choose_target(model: DNAModel, what: str, label: str = "", scale: Scale = "logit") -> Target:
    """Returns the output of the label that is named, of the only label, or of the positive one of two classes.

    Args:
        what: is to be made of it, for errors.
        label: of the model's; if empty, its only one or the second of two classes, which is the positive one.

    Raises:
        InputError: the model has no classifier or reads pieces; it has no such label, or several and none is named; a
            regression is asked for a probability.
    """
    check_reads_whole(model, what)
    task = model.task
    if task is None:
        raise InputError(f"{what} needs a classifier, which `dnabert-jax finetune` makes; attention needs none.")
    if not task.kind.has_classes and scale != "logit":
        raise InputError(f"A regression has no {scale}: its numbers are read as they are, on the scale logit.")
    if label and label not in model.labels:
        raise InputError(f"The model has no label {label!r}: it has {', '.join(model.labels)}.")
    if not label:
        if len(model.labels) > 1 and not task.positive:
            raise InputError(f"Choose a label with --label: the model has {', '.join(model.labels)}.")
        label = model.labels[-1]
    return Target(task, model.labels.index(label), scale)


def label_outputs(
    model: DNAModel,
    target: Target,
    sequences: Iterable[Coded],
    advance: Callable[[int], object] | None = None,
    lengths: dict[int, int] | None = None,
) -> Iterator[float]:
    """Yields the output of the label for each sequence, in input order and in constant memory."""

    def of_label(ids: Int32[np.ndarray, "B L"]) -> Array:
        rows = target.rows(ids, model.tokenizer)
        of_cls = target.task.pooling == "cls"  # then no other token of the last layer needs to be computed
        hidden = model.encoder.last_of_cls(rows) if of_cls else model.encoder(rows, model.config.num_layers)
        return target.output(model, hidden, rows)

    for _, _, value in computed(model, sequences, of_label, advance, lengths):
        yield float(value)


def computed(
    model: DNAModel,
    sequences: Iterable[Coded],
    of_tokens: Callable[[Int32[np.ndarray, "B L"]], Array],
    advance: Callable[[int], object] | None,
    lengths: dict[int, int] | None = None,
) -> Iterator[tuple[Coded, Int32[np.ndarray, " tokens"], np.ndarray]]:
    """Yields each sequence, its ids and what is computed of padded ids; the model reads it whole."""
    longest = model.config.max_positions
    return stream.computed(sequences, model.ids_within_limit, of_tokens, longest, advance, lengths=lengths)

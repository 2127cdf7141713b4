"""Records what a fine-tuning begins with, so that a resumed one is known to be the same."""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from dnabert_jax.config import TaskConfig
from dnabert_jax.tasks.datasets.labelled import LabelledData, LabelledSplit
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.training.saved_model import SavedModel


@dataclasses.dataclass(frozen=True)
class StartingPoint:
    """A model (its source, step and the digest of its weights), data (their task, a digest by split) and settings."""

    model: str
    step: int
    weights: str
    task: TaskConfig
    splits: dict[str, str]
    seeds: int
    config: FinetuneConfig

    def difference(self, before: "StartingPoint") -> str:
        """Returns the first difference from an earlier start, as part of a sentence; an empty text if there is none."""
        then, now = before._settings(), self._settings()
        for name, value in then.items():
            if now[name] != value:
                return f"was started with {name} {value}: it cannot be resumed with {now[name]}"
        if self.weights != before.weights:
            then_model, now_model = (f"{point.model} at step {point.step}" for point in (before, self))
            if then_model == now_model:
                return f"was started with other weights than {now_model} has now"
            return f"was started with the model {then_model}: it cannot be resumed with {now_model}"
        if self.task != before.task:
            return f"was started with other labels ({_labels(before.task)}) than the data have ({_labels(self.task)})"
        names = [name for name in self.splits | before.splits if self.splits.get(name) != before.splits.get(name)]
        return f"was started with other data: the {names[0]} split differs" if names else ""

    def _settings(self) -> dict[str, Any]:
        return {"seeds": self.seeds, **dataclasses.asdict(self.config)}


def starting_point(
    source: str, model: SavedModel, data: LabelledData, config: FinetuneConfig, seeds: int
) -> StartingPoint:
    """Returns that of a fine-tuning of `seeds` models that begin with a model read from `source`."""
    splits = {str(name): _split_digest(split) for name, split in data.splits.items()}
    return StartingPoint(source, model.step, weights_digest(model), data.task, splits, seeds, config)


def named_model(source: str, model: SavedModel) -> str:
    """Returns what results call a model: where it was read from and, for a checkpoint of a run, its step."""
    return f"{source} at step {model.step:,}" if model.step else source


def _labels(task: TaskConfig) -> str:
    return f"{task.problem}: {', '.join(task.labels)}"


def weights_digest(model: SavedModel) -> str:
    """Returns the SHA-256 of a network's configuration and its parameters."""
    digest = hashlib.sha256(repr(model.config).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.parameters):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _split_digest(split: LabelledSplit) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(split.sequences.lengths).data)
    for number in range(len(split)):
        digest.update(split.sequences[number].data)
    digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()

"""Writes and reads the settings of a classifier in config.json, those of transformers and those it does not know."""

import json
import re
from collections.abc import Mapping
from typing import Any

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families.family import Settings
from dnabert_jax.typed_json import parse_json

OUR_SETTINGS = "dnabert_jax"
"""The settings of a classifier that transformers does not know."""


def task_settings(task: TaskConfig) -> Settings:
    """Returns the settings of a classifier of whole sequences."""
    return {
        "problem_type": task.problem,
        "id2label": {str(number): label for number, label in enumerate(task.labels)},
        "label2id": {label: number for number, label in enumerate(task.labels)},
        "classifier_dropout": task.dropout,
        OUR_SETTINGS: {"pooling": task.pooling, "strands": task.strands},
    }


def read_task(
    settings: Settings, shapes: Mapping[str, tuple[int, ...]], config: ModelConfig, name: str
) -> TaskConfig | None:
    """Returns what the classifier predicts, None if the file has none.

    Raises:
        InputError: settings that no task can have, or tensors of no classifier.
    """
    last = next((layer for layer in ("classifier.weight", "classifier2.weight") if layer in shapes), None)
    if last is None:
        return None
    for matrix in (last, "classifier1.weight", "rnn.weight_hh_l0"):
        if matrix in shapes and (len(shapes[matrix]) != 2 or 0 in shapes[matrix]):
            raise InputError(f"{name} is of a classifier whose {matrix} is {shapes[matrix]}: it must be a matrix.")
    count, hidden = shapes[last]
    places = [str(number) for number in range(count)]
    labels = names if isinstance(names := settings.get("id2label"), dict) else {}
    if sorted(labels) != sorted(places):
        # Names that nobody gave may be too few: old transformers kept two, whatever num_labels was.
        if any(label != f"LABEL_{place}" for place, label in labels.items()):
            raise InputError(
                f"{name} names {len(labels)} labels in id2label: the classifier has {count}, 0 to {count - 1}."
            )
        labels = {place: f"LABEL_{place}" for place in places}
    problem = settings.get("problem_type") or ("regression" if count == 1 else "single_label_classification")
    # None is what transformers writes for "as elsewhere".
    dropout = settings.get("classifier_dropout")
    if dropout is None:
        dropout = config.dropout
    record = {"problem": problem, "labels": [labels[place] for place in places], "dropout": dropout}
    if isinstance(ours := settings.get(OUR_SETTINGS), dict):
        record |= ours
    record |= _for_long(settings, shapes, hidden)
    return parse_json(TaskConfig, json.dumps(record).encode(), name)


def _for_long(settings: Settings, shapes: Mapping[str, tuple[int, ...]], hidden: int) -> dict[str, Any]:
    """Returns the settings that make a task one of the original's for long sequences.

    The tensors tell which it is: every config.json of the original has `rnn`, `split` and their like, mostly unused.
    """
    if "classifier1.weight" in shapes:
        return {"long": "concatenation", "split": shapes["classifier1.weight"][-1] // hidden}
    gates = shapes.get("rnn.weight_hh_l0")
    if gates is None:
        return {}
    return {
        "long": {4: "lstm", 3: "gru"}.get(gates[0] // hidden, "none"),
        "split": settings.get("split", 1),
        "num_rnn_layer": sum(re.fullmatch(r"rnn\.weight_hh_l\d+", name) is not None for name in shapes),
        "rnn_dropout": settings.get("rnn_dropout", 0.0),
    }

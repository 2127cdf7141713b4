"""Scores of bases of visualize.py and run_finetune.py.

The attention is that of our network; compared is what is made of it.
"""

import ast
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.interpret.attention import attention_scores

pytestmark = pytest.mark.by_hand
K = 3


def function_of(path: Path, name: str, **names: Any) -> Any:
    """One function of a file, which sees these names and numpy alone."""
    [found] = [node for node in ast.parse(path.read_text()).body if getattr(node, "name", "") == name]
    defined = {"np": np, "os": os, **names}
    exec(compile(ast.Module([found], []), str(path), "exec"), defined)  # noqa: S102
    return defined[name]


def cls_scores(model: DNAModel, sequences: list[tuple[str, str]]) -> list[np.ndarray]:
    return [scores for _, scores in attention_scores(model, sequences)]


def test_scores_of_bases_of_visualize_py(
    original: Path, model: DNAModel, sequences: list[tuple[str, str]], matrices: list[np.ndarray]
) -> None:
    get_real_score = function_of(original / "examples" / "visualize.py", "get_real_score")
    for own, whole in zip(cls_scores(model, sequences), matrices, strict=True):
        real = get_real_score(whole[-1][:, 0, 1:-1].sum(axis=0), K, "mean")
        np.testing.assert_allclose(own, real / np.linalg.norm(real), atol=1e-5)


@pytest.mark.parametrize("more", [0, 8])
def test_scores_of_bases_of_run_finetune_py(
    original: Path,
    model: DNAModel,
    sequences: list[tuple[str, str]],
    matrices: list[np.ndarray],
    tmp_path: Path,
    more: int,
) -> None:
    """Its model of 12 heads is one that gives our attention in the first two and none in the others."""
    torch = pytest.importorskip("torch")
    data = pytest.importorskip("torch.utils.data")
    rows = [row for row, (_, text) in enumerate(sequences) if len(text) == 24]
    length = 24 + more
    attention = np.zeros((len(rows), 12, length, length))
    for place, row in enumerate(rows):
        whole = matrices[row][-1]
        attention[place, : len(whole), : whole.shape[1], : whole.shape[1]] = whole

    class Model:
        def eval(self) -> None: ...

        def __call__(self, input_ids: Any, **inputs: Any) -> tuple[Any, ...]:
            return 0.0, torch.zeros(len(input_ids), 2), (torch.tensor(attention[input_ids.numpy()]),)

    numbers = torch.arange(len(rows))
    visualize = function_of(
        original / "examples" / "run_finetune.py",
        "visualize",
        torch=torch,
        tqdm=lambda batches, desc: batches,
        logger=logging.getLogger(__name__),
        DataLoader=data.DataLoader,
        SequentialSampler=data.SequentialSampler,
        TOKEN_ID_GROUP=(),
        load_and_cache_examples=lambda *_, **__: data.TensorDataset(*[numbers] * 4),
    )
    settings = {"task_name": "dnaprom", "predict_dir": str(tmp_path), "visualize_train": False, "local_rank": -1}
    settings |= {"per_gpu_pred_batch_size": 1, "n_gpu": 0, "max_seq_length": length, "device": "cpu", "model_type": ""}
    theirs, _ = visualize(SimpleNamespace(**settings), Model(), None, K)
    # Padded, the k-mers that cover the last bases are said to be k.
    share = np.minimum(1, (24 - np.arange(24)) / K) if more else np.ones(24)
    for found, own in zip(theirs, cls_scores(model, [sequences[row] for row in rows]), strict=True):
        expected = own * share
        np.testing.assert_allclose(found[:24], expected / np.linalg.norm(expected), atol=1e-5)
        assert not found[24:].any()

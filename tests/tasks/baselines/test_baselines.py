"""A baseline's result is the measure of its scores on the test split, and a fit of whatever is random for each seed."""

from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.tasks.baselines import baselines
from dnabert_jax.tasks.baselines.baselines import run_baseline
from dnabert_jax.tasks.baselines.cnn import CnnBaselineConfig
from dnabert_jax.tasks.baselines.kmer import KmerBaselineConfig
from dnabert_jax.tasks.datasets.labelled import LabelledData, read_labelled


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledData:
    """Sequences of either class from other letters, of different lengths."""
    random = np.random.default_rng(0)
    lines = ["split,sequence,label"]
    for split, count in (("train", 60), ("dev", 20), ("test", 30)):
        for row in range(count):
            shares = [0.4, 0.1, 0.1, 0.4] if row % 2 else [0.1, 0.4, 0.4, 0.1]
            sequence = "".join(random.choice(list("ACGT"), random.integers(10, 30), p=shares))
            lines.append(f"{split},{sequence},{row % 2}")
    table: Path = tmp_path_factory.mktemp("data") / "set.csv"
    table.write_text("\n".join(lines))
    return read_labelled(table, KmerTokenizer(3))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        baselines,
        "BASELINES",
        {
            "kmer": KmerBaselineConfig(3, 3),
            "cnn": CnnBaselineConfig(8, 4, 8, epochs=8, batch_size=8, least_steps=1, peak_learning_rate=2e-2),
        },
    )


@pytest.mark.parametrize(("name", "seeds"), [("kmer", (5,)), ("cnn", (5, 6))])
def test_results(data: LabelledData, name: str, seeds: tuple[int, ...]) -> None:
    result = run_baseline(name, data, "sets/A", (5, 6), resamples=20)
    assert tuple(seed.seed for seed in result.seeds) == seeds
    assert (result.name, result.sizes) == ("sets/A", {"train": 60, "validation": 20, "test": 30})
    assert ("3-mers" if name == "kmer" else "CNN, 8 detectors") in result.model
    for seed in result.seeds:
        assert seed.metrics.examples == 30
        assert seed.metrics.values["roc_auc"].value > 0.9
        assert seed.metrics.values["roc_auc"].low is not None
        assert seed.seconds > 0

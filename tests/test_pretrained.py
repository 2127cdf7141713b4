"""DNABERT as a Python class: what transformers computes from the same directory, whatever is in a batch with it."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from Bio.Seq import reverse_complement
from flax import nnx
from transformers import AutoModel, AutoModelForSequenceClassification

import dnabert_jax
import dnabert_jax.model.layerwise
import dnabert_jax.pretrained
import dnabert_jax.stream
from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interpret.attribution import gradient_times_input, integrated_gradients
from dnabert_jax.interpret.mutagenesis import mutation_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.model.attention import Heads
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.vocabulary import CLS, SEP, UNK
from dnabert_jax.sequence.windows import Windows, cut_into_pieces
from dnabert_jax.training.saved_model import SavedModel, training_lengths, write_saved_model
from tests.random_models import random_dna, random_model

CLASSES = TaskConfig("single_label_classification", ("donor", "acceptor", "neither"))
MARKS = TaskConfig("multi_label_classification", ("H3K4me3", "CTCF"))
SIGNAL = TaskConfig("regression", ("signal", "fold"))


@pytest.fixture(scope="module")
def model(small_model: ModelConfig) -> DNAModel:
    return DNAModel(random_model(small_model))


@pytest.fixture(scope="module")
def sequences() -> list[str]:
    """Of many lengths up to the longest that the small model takes, in no order."""
    lengths = np.random.default_rng(3).integers(3, 65, 50)
    return [random_dna(length, seed) for seed, length in enumerate([64, 3, *lengths])]


@pytest.fixture(scope="module")
def theirs(model: DNAModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """transformers' BertModel from the exported directory."""
    directory = tmp_path_factory.mktemp("exported") / "model"
    model.save_pretrained(directory, architecture="encoder")
    return AutoModel.from_pretrained(directory, attn_implementation="eager").eval()


def test_a_model_says_what_it_is(small_model: ModelConfig, model: DNAModel, tmp_path: Path) -> None:
    assert dnabert_jax.DNABERT is dnabert_jax.DNAModel is DNAModel
    assert {"DNABERT", "DNAModel"} <= set(dir(dnabert_jax))
    assert "['backbone', 'head', 'pooler']" in repr(model)
    DNAModel(random_model(small_model, SIGNAL)).save_pretrained(tmp_path / "model")
    for fact in ("3-mers", "layers=2", "hidden_size=32", "['signal', 'fold']", "'regression'", str(tmp_path / "model")):
        assert fact in repr(DNAModel.from_pretrained(tmp_path / "model"))


def test_embeddings_are_those_of_transformers(model: DNAModel, theirs: Any, sequences: list[str]) -> None:
    def assert_same(found: np.ndarray, expected: torch.Tensor) -> None:
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-4, rtol=0)

    sequences = sequences[:8]
    results = []
    for ids in model.encode(sequences):
        with torch.no_grad():
            results.append(theirs(input_ids=torch.tensor(ids[None], dtype=torch.long), output_hidden_states=True))
    pooled = model.embed(sequences, pooling="pooled")
    for ours, result in zip(pooled, results, strict=True):
        assert_same(ours, result.pooler_output[0])
    assert np.abs(pooled).max() > 0.1
    for layer in range(-3, 3):
        by_token, mean, cls = (model.embed(sequences, pooling, layer) for pooling in ("tokens", "mean", "cls"))
        assert mean.shape == cls.shape == (len(sequences), 32)
        assert mean.dtype == cls.dtype == by_token[0].dtype == np.float32
        for number, result in enumerate(results):
            hidden = result.hidden_states[layer][0]
            assert_same(by_token[number], hidden[1:-1])
            assert_same(mean[number], hidden[1:-1].mean(dim=0))
            assert_same(cls[number], hidden[0])


@pytest.mark.parametrize("task", [CLASSES, MARKS, SIGNAL], ids=lambda task: task.problem)
def test_predictions_are_those_of_transformers(
    small_model: ModelConfig, task: TaskConfig, sequences: Any, tmp_path: Path
) -> None:
    model = DNAModel(random_model(small_model, task))
    model.save_pretrained(tmp_path / "model")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    found = model.predict(sequences)
    assert found.shape == (len(sequences), len(task.labels))
    assert model.labels == task.labels == tuple(theirs.config.id2label.values())
    for row, ids in zip(found, model.encode(sequences), strict=True):
        with torch.no_grad():
            logits = theirs(input_ids=torch.tensor(ids[None], dtype=torch.long)).logits[0]
        expected = {
            "single_label_classification": logits.softmax(dim=0),
            "multi_label_classification": logits.sigmoid(),
            "regression": logits,
        }[task.problem]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-4, rtol=0)
    assert np.ptp(found) > 0.01


def test_a_base_has_the_mean_of_the_kmers_that_cover_it(model: DNAModel, sequences: list[str]) -> None:
    some = [*sequences[:6], "ACGNNTGCA"]
    for layer in (0, -1):
        by_base = model.embed(some, pooling="bases", layer=layer)
        for sequence, vectors, by_kmer in zip(some, by_base, model.embed(some, "tokens", layer), strict=True):
            means = [by_kmer[max(0, base - 2) : base + 1].mean(axis=0) for base in range(len(sequence))]
            np.testing.assert_allclose(vectors, means, atol=1e-5)


def test_sequences_may_have_names_and_be_codes(small_model: ModelConfig, sequences: list[str]) -> None:
    """The values of the other strand are below."""
    model = DNAModel(random_model(small_model, CLASSES))
    named = [(f"s{number}", base_codes(sequence.encode())) for number, sequence in enumerate(sequences)]
    done: list[int] = []
    found = list(model.predictions(iter(named), "both", done.append))
    assert sum(done) == len(sequences)
    assert [name for name, _ in found] == [name for name, _ in named]
    np.testing.assert_array_equal([row for _, row in found], model.predict(sequences, strands="both"))
    with pytest.raises(InputError, match=r"sequence 2 \(tiny\) has 2 bases.* 3"):
        list(model.predictions([named[0], ("tiny", base_codes(b"AC"))]))


@pytest.mark.parametrize(
    ("long", "window", "limits"),
    [
        *((long, 0, "187 .* 186,.* 188 ") for long in ("lstm", "gru", "concatenation")),
        ("concatenation", 40, "187 .* 133,.* 135 "),
        ("attention", 40, None),
    ],
)
def test_models_of_long_sequences(small_model: ModelConfig, long: Any, window: int, limits: Any) -> None:
    """The network on all pieces or windows of a sequence at once says the same as one after the other."""
    split, windows = (4, Windows(40, 9)) if window else (3, None)
    task = TaskConfig("regression", ("signal",), long=long, split=split, window=window, overlap=9 if window else 0)
    saved = random_model(small_model, task)
    model, network = DNAModel(saved), sequence_classifier(small_model, task, rngs=nnx.Rngs(0))
    nnx.update(network, jax.tree.map(jnp.asarray, saved.parameters))

    def expected(sequence: str) -> np.ndarray:
        kmers = model.encode(sequence)[1:-1]
        rows = windows.cut(kmers, (SEP,)) if windows else cut_into_pieces(kmers, split, 64)
        rows = np.pad(rows, ((0, max(0, split - len(rows))), (0, 0)))
        return np.asarray(jax.jit(network)(jnp.asarray(rows[None])))[0]

    sequences = [random_dna(length, length) for length in ((135, 3, 100, 42, 43) if window else (188, 3, 100, 64))]
    if limits:
        with pytest.raises(InputError, match=f"sequence 2 has {limits}"):
            model.predict(["ACG", random_dna(189)])
    else:
        sequences.append(random_dna(189))
    results = model.predict(sequences)
    assert np.ptp(results) > 0.01
    np.testing.assert_allclose(results, [expected(sequence) for sequence in sequences], atol=1e-5, rtol=0)


def test_results_do_not_depend_on_what_is_in_the_batch_and_are_in_the_order_of_any_iterable(
    model: DNAModel, sequences: list[str]
) -> None:
    together = model.embed(sequences)
    alone = np.stack([model.embed(sequence) for sequence in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(model.embed(sequences[::-1]), together[::-1], atol=1e-5, rtol=0)
    # Which also tells that the order is kept: no two are alike.
    distances = np.abs(together[:, None] - together[None]).max(axis=-1) + np.eye(len(together))
    assert distances.min() > 1e-3
    assert np.array_equal(model.embed(iter(sequences)), together)
    assert np.array_equal(model.embed(tuple(sequences)), together)
    assert model.embed([]).shape == model.embed(iter([])).shape == (0, 32)
    assert model.embed([], pooling="tokens") == model.encode([]) == []
    vectors = model.embed(sequences[0], pooling="tokens")
    assert vectors.shape == (62, 32)
    np.testing.assert_allclose(vectors, model.embed(sequences, pooling="tokens")[0], atol=1e-5)


def test_settings_of_the_program_have_no_effect(
    model: DNAModel, small_model: ModelConfig, sequences: list[str]
) -> None:
    expected, fresh = model.embed(sequences), DNAModel(random_model(small_model))
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.transfer_guard("disallow"),
    ):
        assert np.array_equal(fresh.embed(sequences), expected)
        next(fresh.embeddings(("", sequence) for sequence in sequences))
        assert jnp.arange(2).dtype == jnp.int64


def test_raw_dna_in_any_case_and_kmers_are_the_same(model: DNAModel) -> None:
    raw, *others = model.encode(["ACGTN", "acgtn", "ACG CGT GTN"])
    assert (raw[0], *raw[3:], raw.dtype) == (CLS, UNK, SEP, np.int32)
    assert all(np.array_equal(raw, ids) for ids in others)


def test_a_bucket_is_compiled_once(small_model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[tuple[int, ...]] = []
    attention = dnabert_jax.model.layerwise.xla_attention

    def counted(heads: Heads) -> Any:
        traced.append(heads.query.shape)
        return attention(heads)

    monkeypatch.setattr(dnabert_jax.model.layerwise, "xla_attention", counted)
    of_no_other_test = dataclasses.replace(small_model, intermediate_size=48)
    model = DNAModel(random_model(of_no_other_test))
    rng = np.random.default_rng(0)
    for seed in range(3):
        model.embed([random_dna(length, seed) for length in rng.integers(3, 65, 500)])
    # Buckets 8, 16, ... 64, and fewer rows where the sequences end; two layers and 1,500 sequences count for nothing.
    assert 8 <= len(traced) == len(set(traced)) <= 8 + 5
    DNAModel(random_model(of_no_other_test, seed=1)).embed(random_dna(64), layer=1)
    assert len(traced) <= 8 + 6


def test_a_sequence_that_cannot_be_taken_is_named(model: DNAModel) -> None:
    unusable: list[tuple[str, Any]] = [
        ("sequence 3 has 63 .* 62,.* 64 ", ["ACGT", "ACGT", random_dna(65)]),
        ("sequence 2 has 2 bases.* 3", ["ACGT", "AC"]),
        ("sequence 1 has 0 bases", ""),
        ("sequence 2 has 'U' at position 2", ["ACGT", "AUG"]),
        ("sequence 2 is float nan", iter(["ACGT", float("nan")])),
    ]
    for message, sequences in unusable:
        with pytest.raises(InputError, match=message):
            model.embed(sequences)


def test_what_the_model_has_not_is_refused(model: DNAModel, small_model: ModelConfig, tmp_path: Path) -> None:
    saved = random_model(small_model)
    bare = DNAModel(SavedModel(saved.description, 0, {part: saved.parameters[part] for part in ("backbone", "head")}))
    assert (bare.labels, bare.task) == ((), None)
    model.save_pretrained(tmp_path / "model")
    refused: list[tuple[str, Callable[[], object]]] = [
        ("a classifier: .* an encoder and a head of masked tokens", lambda: bare.predict(["ACGT"])),
        ("a pooler: .* an encoder and a head of masked tokens", lambda: bare.embed(["ACGT"], pooling="pooled")),
        ("layer is 3: the model has 0", lambda: model.embed(["ACGT"], layer=3)),
        ("layer is -4: the model has 0", lambda: model.embed(["ACGT"], layer=-4)),
        ("the last one alone", lambda: model.embed(["ACGT"], pooling="pooled", layer=1)),
        ("steps", lambda: DNAModel.from_pretrained(tmp_path / "model", step=3)),
        ("nothing", lambda: DNAModel.from_pretrained(tmp_path / "nothing")),
    ]
    for message, call in refused:
        with pytest.raises(InputError, match=message):
            call()


@pytest.mark.slow
def test_all_directories_are_read(small_model: ModelConfig, trained_run: Path, tmp_path: Path, sequences: Any) -> None:
    of_run = DNAModel.from_pretrained(trained_run)
    expected = of_run.embed(sequences)
    assert np.abs(DNAModel.from_pretrained(str(trained_run), step=2).embed(sequences) - expected).max() > 0.01
    of_run.save_pretrained(tmp_path / "exported")
    exported = DNAModel.from_pretrained(tmp_path / "exported")
    write_saved_model(tmp_path / "imported", exported._model)
    for model in (exported, DNAModel.from_pretrained(tmp_path / "imported")):
        assert model.config == small_model
        assert np.array_equal(model.embed(sequences), expected)


def test_sixteen_bits_are_close(small_model: ModelConfig, model: DNAModel, sequences: list[str]) -> None:
    narrow = DNAModel(random_model(small_model), compute_dtype="bfloat16").embed(sequences[:1])
    assert narrow.dtype == np.float32
    difference = np.abs(narrow - model.embed(sequences[:1]))
    assert 1e-4 < difference.max() < 0.1


def test_a_bar_is_shown_only_where_it_takes_long(
    model: DNAModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seconds, progress in ((1000, True), (0, True), (0, False)):
        monkeypatch.setattr(dnabert_jax.stream, "_SECONDS_TO_BAR", seconds)
        model.embed(["ACGT"] * 100, progress=progress)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert ("100/100" in printed.err) == bool(printed.err) == (progress and not seconds)


def test_what_is_pushed_is_what_is_saved(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def push(directory: Path, repository: str, private: bool) -> str:
        assert (repository, private) == ("me/dna", True)
        assert np.array_equal(DNAModel.from_pretrained(directory).embed("ACGTTG"), model.embed("ACGTTG"))
        return "hub"

    monkeypatch.setattr(dnabert_jax.pretrained, "push_directory", push)
    assert model.push_to_hub("me/dna", private=True) == "hub"


def test_the_code_in_the_readme_runs(small_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (code,) = re.findall(r"## Use a model in Python\n.*?```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    DNAModel(random_model(small_model)).save_pretrained(tmp_path / "zhihan1996" / "DNA_bert_6")
    DNAModel(random_model(small_model, CLASSES)).save_pretrained(tmp_path / "runs" / "promoters")
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - it is our own
    assert names["vectors"].shape == (2, 32)
    assert names["probabilities"].shape == (1, 3)


@pytest.mark.parametrize("lengths", [None, {"minimum": 1, "median": 2}, {"minimum": "1", "median": 2, "maximum": 3}])
def test_a_provenance_of_another_program_has_no_lengths(lengths: Any) -> None:
    assert training_lengths({"finetuning": {"lengths": lengths}}) is None
    assert training_lengths({"imported": lengths}) is None
    assert training_lengths(lengths) is None


FORWARD = [random_dna(length, length) for length in (23, 9, 40)]
REVERSE = [reverse_complement(sequence) for sequence in FORWARD]


@pytest.fixture(scope="module", params=["cls", "mean", "mean-max"])
def both(small_model: ModelConfig, request: pytest.FixtureRequest) -> DNAModel:
    task = TaskConfig("single_label_classification", ("a", "b", "c"), pooling=request.param, strands="both")
    return DNAModel(random_model(small_model, task))


def test_predictions_average_the_logits_of_both_strands(both: DNAModel) -> None:
    logits = [np.log(both.predict(strand, strands="forward")) for strand in (FORWARD, REVERSE)]
    merged = np.exp((logits[0] + logits[1]) / 2)
    expected = merged / merged.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.predict(FORWARD), expected, atol=1e-5)
    np.testing.assert_allclose(both.predict(REVERSE), expected, atol=1e-5)
    assert np.abs(both.predict(FORWARD, strands="forward") - expected).max() > 1e-3


def test_effects_of_mutations_are_those_of_the_predictions(both: DNAModel) -> None:
    target = choose_target(both, "A test", "b", "probability")
    [found] = mutation_effects(both, [("s", FORWARD[1])], target)
    [turned] = mutation_effects(both, [("s", REVERSE[1])], target)
    changed = "T" + FORWARD[1][1:] if FORWARD[1][0] != "T" else "A" + FORWARD[1][1:]
    effect = both.predict(changed)[1] - both.predict(FORWARD[1])[1]
    assert found.effects[0, "ACGT".index(changed[0])] == pytest.approx(effect, abs=1e-5)
    # On the other strand bases stand in the other order, and A, C, G, T are T, G, C, A.
    np.testing.assert_allclose(found.effects, turned.effects[::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize("scale", ["logit", "log-odds"])
def test_attributions_turn_with_the_sequence_and_are_complete(both: DNAModel, scale: Any) -> None:
    target = choose_target(both, "A test", "b", scale)
    named, turned = ([(str(n), text) for n, text in enumerate(texts)] for texts in (FORWARD, REVERSE))
    for one, other in zip(
        gradient_times_input(both, named, target), gradient_times_input(both, turned, target), strict=True
    ):
        np.testing.assert_allclose(one[1], other[1][::-1], atol=1e-5)
        assert np.abs(one[1]).max() > 1e-3
    for one in integrated_gradients(both, named, target, steps=24):
        assert one.gap < 0.02

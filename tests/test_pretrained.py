"""DNABERT as a Python class: what transformers computes from the same directory, whatever is in a batch with it."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import AutoModel, AutoModelForSequenceClassification

import dnabert_jax
import dnabert_jax.model.layerwise
import dnabert_jax.pretrained
import dnabert_jax.stream
from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.model.attention import Heads
from dnabert_jax.model.backbone import LanguageModel
from dnabert_jax.model.classification import PooledBackbone
from dnabert_jax.model.long import sequence_classifier
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.vocabulary import CLS, SEP, UNK
from dnabert_jax.sequence.windows import Windows, cut_into_pieces
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.saved_model import Description, SavedModel, training_lengths, write_saved_model

CLASSES = TaskConfig("single_label_classification", ("donor", "acceptor", "neither"))
MARKS = TaskConfig("multi_label_classification", ("H3K4me3", "CTCF"))
SIGNAL = TaskConfig("regression", ("signal", "fold"))


def random_model(config: ModelConfig, task: TaskConfig | None = None, seed: int = 0) -> SavedModel:
    """With a pooler, and either a classifier or the head of masked tokens; no parameter is zero."""

    def make() -> list[nnx.Module]:
        rngs = nnx.Rngs(seed)
        return [LanguageModel(config, rngs=rngs), PooledBackbone(config, rngs=rngs)]

    modules = make() if task is None else [sequence_classifier(config, task, rngs=nnx.Rngs(seed))]
    parameters: dict[str, Any] = {}
    for module in modules:
        parameters |= nnx.to_pure_dict(nnx.state(module, nnx.Param))
    rng = np.random.default_rng(seed)
    shaken = jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.normal(size=x.shape), np.float32), parameters)
    return SavedModel(Description(config, task, {}), 0, shaken)


def random_dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


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
    assert repr(model) == "DNAModel(tokens=3-mers, layers=2, hidden_size=32, parts=['backbone', 'head', 'pooler'])"
    for task, facts in (
        (CLASSES, "labels=['donor', 'acceptor', 'neither']"),
        (SIGNAL, "labels=['signal', 'fold'], problem='regression'"),
    ):
        directory = tmp_path / task.problem
        DNAModel(random_model(small_model, task)).save_pretrained(directory)
        loaded = DNAModel.from_pretrained(directory)
        assert repr(loaded) == f"DNAModel(tokens=3-mers, layers=2, hidden_size=32, {facts}, from {str(directory)!r})"


def test_embeddings_are_those_that_transformers_computes(model: DNAModel, theirs: Any, sequences: list[str]) -> None:
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
        by_token = model.embed(sequences, pooling="tokens", layer=layer)
        mean, cls = (model.embed(sequences, pooling=pooling, layer=layer) for pooling in ("mean", "cls"))
        assert mean.shape == cls.shape == (len(sequences), 32)
        assert mean.dtype == cls.dtype == by_token[0].dtype == np.float32
        for number, result in enumerate(results):
            hidden = result.hidden_states[layer][0]
            assert_same(by_token[number], hidden[1:-1])
            assert_same(mean[number], hidden[1:-1].mean(dim=0))
            assert_same(cls[number], hidden[0])


@pytest.mark.parametrize("task", [CLASSES, MARKS, SIGNAL], ids=lambda task: task.problem)
def test_predictions_are_those_that_transformers_computes(
    small_model: ModelConfig, task: TaskConfig, sequences: list[str], tmp_path: Path
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
        for sequence, own, by_kmer in zip(some, by_base, model.embed(some, "tokens", layer), strict=True):
            assert own.shape == (len(sequence), 32)
            for base, vector in enumerate(own):
                covering = [kmer for number, kmer in enumerate(by_kmer) if number <= base < number + 3]
                np.testing.assert_allclose(vector, np.mean(covering, axis=0), atol=1e-5)


def test_names_codes_and_both_strands(small_model: ModelConfig, sequences: list[str]) -> None:
    model = DNAModel(random_model(small_model, CLASSES))
    named = [(f"s{number}", base_codes(sequence.encode())) for number, sequence in enumerate(sequences)]
    done: list[int] = []
    found = list(model.predictions(iter(named), "both", done.append))
    assert sum(done) == len(sequences)
    assert [name for name, _ in found] == [name for name, _ in named]
    turned = [sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1] for sequence in sequences]
    merged = np.sqrt(model.predict(sequences) * model.predict(turned))  # the mean of the logits
    expected = merged / merged.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.stack([row for _, row in found]), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(sequences, strands="both"), expected, atol=1e-5)
    assert np.abs(model.predict(sequences) - expected).max() > 0.001
    with pytest.raises(InputError, match=r"sequence 2 \(tiny\) has 2 bases.* 3"):
        list(model.predictions([named[0], ("tiny", base_codes(b"AC"))]))


@pytest.mark.parametrize("long", ["lstm", "gru", "concatenation"])
def test_models_of_long_sequences_predict_from_their_pieces(small_model: ModelConfig, long: Any) -> None:
    task = TaskConfig("single_label_classification", ("no", "yes"), long=long, split=3)
    saved = random_model(small_model, task)
    model = DNAModel(saved)
    sequences = [random_dna(length, length) for length in (188, 3, 100, 64)]
    network = sequence_classifier(small_model, task, rngs=nnx.Rngs(0))
    nnx.update(network, jax.tree.map(jnp.asarray, saved.parameters))
    pieces = np.stack([cut_into_pieces(ids[1:-1], 3, 64) for ids in model.encode(sequences)])
    expected = jax.jit(lambda: jax.nn.softmax(network(jnp.asarray(pieces))))()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(model.predict(sequences), expected, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=r"sequence 2 has 187 .* 186,.* 188 "):
        model.predict(["ACG", random_dna(189)])


@pytest.mark.parametrize("long", ["attention", "concatenation"])
def test_models_of_windows_predict_from_all_of_them(small_model: ModelConfig, long: Any) -> None:
    """The network on each sequence's own windows, computed at once, says the same as windows one after the other."""
    task = TaskConfig("regression", ("signal",), long=long, split=4, window=40, overlap=9)
    saved = random_model(small_model, task)
    model = DNAModel(saved)
    sequences = [random_dna(length, length) for length in (135, 3, 100, 42, 43)]
    network = sequence_classifier(small_model, task, rngs=nnx.Rngs(0))
    nnx.update(network, jax.tree.map(jnp.asarray, saved.parameters))
    windows = Windows(40, 9)
    kmers = [ids[1:-1] for ids in model.encode(sequences)]
    ids = np.concatenate([[CLS, *own, SEP] for own in kmers])
    begins = np.cumsum([0, *(len(own) + 2 for own in kmers[:-1])])
    rows = windows.rows(ids, begins, np.array([len(own) for own in kmers]), 4, 42)
    expected = jax.jit(lambda: network(jnp.asarray(rows)))()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(model.predict(sequences), expected, atol=1e-5, rtol=0)
    longer = random_dna(137, 5)
    if long == "concatenation":
        with pytest.raises(InputError, match=r"sequence 1 has 135 .* 133,.* 135 "):
            model.predict([longer])
    else:
        assert windows.count(np.array([135]))[0] == 5
        rows = windows.cut(model.encode(longer)[1:-1])[None]
        expected = jax.jit(lambda: network(jnp.asarray(rows)))()
        np.testing.assert_allclose(model.predict([longer]), expected, atol=1e-5, rtol=0)


def test_results_do_not_depend_on_what_is_in_the_batch(model: DNAModel, sequences: list[str]) -> None:
    together = model.embed(sequences)
    alone = np.stack([model.embed(sequence) for sequence in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(model.embed(sequences[::-1]), together[::-1], atol=1e-5, rtol=0)
    # Which also tells that the order is kept: no two are alike.
    distances = np.abs(together[:, None] - together[None]).max(axis=-1) + np.eye(len(together))
    assert distances.min() > 1e-3


def test_results_do_not_depend_on_settings_of_the_program_and_it_keeps_them(
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


def test_any_iterable_will_do(model: DNAModel, sequences: list[str]) -> None:
    expected = model.embed(sequences)
    assert np.array_equal(model.embed(sequence for sequence in sequences), expected)
    assert np.array_equal(model.embed(tuple(sequences)), expected)
    assert model.embed([]).shape == model.embed(iter([])).shape == (0, 32)
    assert model.embed([], pooling="tokens") == model.encode([]) == []
    one = model.embed(sequences[0], pooling="tokens")
    assert one.shape == (62, 32)
    np.testing.assert_allclose(one, model.embed(sequences, pooling="tokens")[0], atol=1e-5)


def test_raw_dna_in_any_case_and_kmers_are_the_same(model: DNAModel) -> None:
    ids = model.encode("ACGTN")
    assert (ids[0], *ids[3:], ids.dtype) == (CLS, UNK, SEP, np.int32)
    assert model.encode(["acgtn", "ACG CGT GTN"])[1].tolist() == ids.tolist()
    raw, lower, kmers = model.embed(["ACGTN", "acgtn", "ACG CGT GTN"])
    np.testing.assert_allclose([lower, kmers], [raw, raw], atol=1e-6)


def test_as_many_programs_are_compiled_as_there_are_buckets(
    small_model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    def fails(message: str, sequences: Any) -> None:
        for call in (model.embed, lambda sequences: model.embed(sequences, pooling="tokens")):
            with pytest.raises(InputError, match=message):
                call(sequences)

    fails("sequence 3 has 63 .* 62,.* 64 ", ["ACGT", "ACGT", random_dna(65)])
    fails("sequence 2 has 2 bases.* 3", ["ACGT", "AC"])
    fails("sequence 1 has 0 bases", "")
    fails("sequence 2 has 'U' at position 2", ["ACGT", "AUG"])
    with pytest.raises(InputError, match="sequence 2 is float nan: it must be a str"):
        model.embed(iter(["ACGT", float("nan")]))


def test_what_the_model_has_not_is_refused(model: DNAModel, small_model: ModelConfig, tmp_path: Path) -> None:
    saved = random_model(small_model)
    bare = DNAModel(SavedModel(saved.description, 0, {part: saved.parameters[part] for part in ("backbone", "head")}))
    with pytest.raises(InputError, match="needs a classifier: the model has an encoder and a head of masked tokens"):
        bare.predict(["ACGT"])
    with pytest.raises(InputError, match="needs a pooler: the model has an encoder and a head of masked tokens"):
        bare.embed(["ACGT"], pooling="pooled")
    assert bare.labels == ()
    assert bare.task is None
    for layer in (3, -4):
        with pytest.raises(InputError, match=f"layer is {layer}: the model has 0"):
            model.embed(["ACGT"], layer=layer)
    with pytest.raises(InputError, match="the pooler takes the last one alone"):
        model.embed(["ACGT"], pooling="pooled", layer=1)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="has no steps"):
        DNAModel.from_pretrained(tmp_path / "model", step=3)
    with pytest.raises(InputError, match="nothing"):
        DNAModel.from_pretrained(tmp_path / "nothing")


@pytest.mark.slow
def test_every_kind_of_directory_is_read(
    small_model: ModelConfig, sample_rows: Path, tmp_path: Path, sequences: list[str]
) -> None:
    config = PretrainConfig(
        model=small_model,
        optimizer=OptimizerConfig(peak_learning_rate=0.05, warmup_steps=1, schedule_steps=9),
        global_batch=8,
        steps=3,
        evaluation_rows=8,
        checkpoint_every=1,
    )
    pretrain(config, sample_rows, tmp_path / "run")
    of_run = DNAModel.from_pretrained(tmp_path / "run")
    expected = of_run.embed(sequences)
    assert np.abs(DNAModel.from_pretrained(str(tmp_path / "run"), step=2).embed(sequences) - expected).max() > 0.01
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
    # A busy machine may take longer than the seconds that are allowed.
    monkeypatch.setattr(dnabert_jax.stream, "_SECONDS_TO_BAR", 1000)
    model.embed(["ACGT"] * 100)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(dnabert_jax.stream, "_SECONDS_TO_BAR", 0)
    model.embed(["ACGT"] * 100)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "100/100" in printed.err
    model.embed(["ACGT"] * 100, progress=False)
    assert capsys.readouterr() == ("", "")


def test_what_is_pushed_is_what_is_saved(model: DNAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: dict[str, Any] = {}

    def push(directory: Path, repository: str, private: bool) -> str:
        pushed[repository] = (private, DNAModel.from_pretrained(directory).embed("ACGTTG"))
        return f"hub/{repository}"

    monkeypatch.setattr(dnabert_jax.pretrained, "push_directory", push)
    assert model.push_to_hub("me/dna", private=True) == "hub/me/dna"
    private, vector = pushed["me/dna"]
    assert private
    assert np.array_equal(vector, model.embed("ACGTTG"))


@pytest.fixture
def readme() -> Iterator[str]:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (section,) = re.findall(r"## Use a model in Python\n(.*?)\n## ", text, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def test_the_code_in_the_readme_runs(
    readme: str, small_model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    DNAModel(random_model(small_model)).save_pretrained(tmp_path / "zhihan1996" / "DNA_bert_6")
    DNAModel(random_model(small_model, CLASSES)).save_pretrained(tmp_path / "runs" / "promoters")
    names: dict[str, Any] = {}
    exec(readme, names)  # noqa: S102 - it is our own
    assert names["vectors"].shape == (2, 32)
    assert names["probabilities"].shape == (1, 3)


@pytest.mark.parametrize(
    "provenance",
    [
        None,
        "finetuning",
        {"imported": None},
        {"imported": {"provenance": ["finetuning"]}},
        {"finetuning": {"lengths": {"minimum": 1, "median": 2}}},
        {"finetuning": {"lengths": {"minimum": "1", "median": 2, "maximum": 3}}},
        {"finetuning": {"lengths": None}},
    ],
)
def test_a_provenance_of_another_program_has_no_lengths(provenance: Any) -> None:
    assert training_lengths(provenance) is None


def test_the_class_has_two_names() -> None:
    assert dnabert_jax.DNABERT is dnabert_jax.DNAModel is DNAModel
    assert {"DNABERT", "DNAModel"} <= set(dir(dnabert_jax))

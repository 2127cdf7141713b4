"""Jobs in lockstep are each what they are alone, and what transformers' Trainer makes of the same batches."""

import dataclasses
import functools
import re
import time
from typing import Any

import jax
import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, get_linear_schedule_with_warmup

from dnabert_jax.config import ModelConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.huggingface import from_huggingface, shapes_of_parts, to_huggingface
from dnabert_jax.tasks.finetuning import fitting
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import epoch_order
from dnabert_jax.tasks.finetuning.fitting import Fitted, Job
from dnabert_jax.tasks.finetuning.lockstep import Lockstep, jobs_mesh
from dnabert_jax.tasks.finetuning.trainable import rate_factors, split_trainable, stacked, whole_model
from dnabert_jax.training.state import Parameters
from tests.tasks.finetuning.conftest import TASK, Counting, Judged, assert_close, assert_same, random_parts, sequences

MODEL = ModelConfig(k=3, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=40)
CONFIG = dataclasses.replace(FINETUNE_PRESETS["dnabert"], epochs=2, batch_size=8, peak_learning_rate=1e-3, restarts=0)


def job(name: str, count: int, seed: int = 0, shortest: int = 29, longest: int = 29, validated: int = 12) -> Job:
    """Each length that sequences are padded to is a program to compile: most jobs have sequences of one length."""
    train = sequences(MODEL, count, ord(name), shortest, longest)
    return Job(name, train, sequences(MODEL, validated, ord(name) + 1, shortest, longest), seed)


@functools.cache
def network() -> Parameters:
    """A network with random weights, whose head is not of the pre-trained model."""
    drawn = random_parts(MODEL, None, ["backbone"])
    drawn["backbone"]["embeddings"]["token"]["table"][MODEL.vocabulary_size :] = 0
    return drawn | random_parts(MODEL, TASK, ["pooler", "classifier"], seed=1)


def fit(jobs: list[Job], config: FinetuneConfig = CONFIG, devices: int = 1, **changed: Any) -> list[Fitted]:
    observer = changed.pop("observer", Counting())
    settings = {"parameters": {"backbone": network()["backbone"]}, "task": TASK, **changed}
    return Judged(MODEL, config=config, devices=jax.devices()[:devices], **settings).run(jobs, observer)


@pytest.mark.parametrize(
    ("train", "devices", "parts"),
    [("full", 1, False), ("full", 8, False), ("full", 8, True), ("lora", 4, True), ("head", 8, False)],
)
def test_a_job_in_lockstep_is_the_job_alone(
    train: str, devices: int, parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of other sizes, lengths and seeds than its neighbours, some of which end sooner; dropout and masks are on.

    But for the rounding of sums over more padding, which AdamW makes larger where a gradient is nearly 0.
    """
    config = dataclasses.replace(CONFIG, train=train, mask_rate=0.2)
    jobs = [job("a", 40), job("b", 17, seed=3, shortest=5, longest=6), job("c", 24)]
    alone = [fit([each], config)[0] for each in jobs]
    if parts:
        monkeypatch.setattr(fitting, "Lockstep", functools.partial(Lockstep, whole_up_to=0))
    assert_same(fit(jobs, config, devices), alone, atol=1e-5)


def test_a_job_of_long_sequences_in_lockstep_is_the_job_alone() -> None:
    """One has sequences of two and three windows, its neighbour of one and two; dropout and masks are on."""
    task = dataclasses.replace(TASK, long="attention", split=3, window=12, overlap=3)
    jobs = [job("a", 16, shortest=22, validated=8), job("b", 11, seed=3, shortest=8, validated=8)]
    for number, each in enumerate(jobs):
        splits = {name: getattr(each, name) for name in ("train", "validation")}
        windowed = {name: dataclasses.replace(split, windows=task.windows) for name, split in splits.items()}
        jobs[number] = dataclasses.replace(each, **windowed)
    config = dataclasses.replace(CONFIG, epochs=1, mask_rate=0.2)
    alone = [fit([each], config, task=task)[0] for each in jobs]
    assert_same(fit(jobs, config, task=task), alone, atol=1e-4)
    # Memory is saved at no price but time.
    assert_same(fit(jobs[1:], dataclasses.replace(config, remat="full"), task=task), alone[1:], atol=1e-5)


def test_jobs_learn_what_there_is_to_learn_and_differ_by_their_seed() -> None:
    config = dataclasses.replace(CONFIG, epochs=12, peak_learning_rate=3e-3, dropout=0.0)
    first, second = fit([job("a", 80), dataclasses.replace(job("a", 80), seed=1)], config)
    assert first.losses[-1] < first.losses[0] - 0.1
    assert first.figures[-1] > np.log(0.5) + 0.1
    assert first.losses != second.losses
    (blind,) = fit([job("a", 80)], dataclasses.replace(config, mask_rate=0.999))
    assert blind.losses[-1] > np.log(2) - 0.1


@pytest.mark.parametrize(("jobs", "communicates"), [(8, False), (1, True)])
def test_jobs_do_not_communicate_and_devices_that_share_one_have_parts(jobs: int, communicates: bool) -> None:
    """Eight jobs on eight devices: the compiled step has no collective."""
    lockstep = Lockstep(MODEL, TASK, CONFIG, jobs_mesh(jax.devices(), jobs, CONFIG.batch_size), whole_up_to=0)
    state = lockstep.start(stacked([network()] * jobs))
    batch, turn = lockstep.abstract_batch(jobs, 16)
    hlo = lockstep.train_step().lower({}, state, batch, turn).compile().as_text()
    assert (
        bool(re.search(r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\(", hlo))
        is communicates
    )
    # Each device has its job, or an eighth of the encoder's matrices and of their moments.
    for tree in (state.trainable, state.optimizer[1].mu, state.best):
        kernel = tree["backbone"]["layers"]["intermediate"]["kernel"]
        assert kernel.addressable_shards[0].data.size * 8 == kernel.size


def test_the_mesh_takes_jobs_first_and_rows_with_what_is_left() -> None:
    expected = {(1, 32): (1, 8), (3, 32): (2, 4), (8, 32): (8, 1), (20, 32): (8, 1), (1, 6): (1, 6), (2, 7): (2, 1)}
    assert {case: jobs_mesh(jax.devices(), *case).devices.shape[:2] for case in expected} == expected


@pytest.mark.parametrize("devices", [1, 8])
def test_updates_are_those_of_pytorch_and_transformers(devices: int) -> None:
    """AdamW, clipping and the schedule, on the same batches without dropout."""
    config = dataclasses.replace(CONFIG, epochs=3, warmup_share=0.2, weight_decay=0.1, clip_norm=0.5, dropout=0.0)
    data = job("a", 40, seed=5)
    whole = network()
    settings = BertConfig(
        vocab_size=69, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=40, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2,
    )  # fmt: skip
    theirs = BertForSequenceClassification(settings)
    tensors = {name: torch.tensor(np.ascontiguousarray(t)) for name, t in to_huggingface(whole, MODEL).items()}
    theirs.load_state_dict(tensors)
    groups = [{"params": [p], "weight_decay": 0.1 if p.ndim > 1 else 0.0} for p in theirs.parameters()]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, eps=1e-8)
    schedule = get_linear_schedule_with_warmup(optimizer, round(0.2 * 15), 15)
    for epoch in (1, 2, 3):
        order = epoch_order(40, 5, epoch)
        for first in range(0, 40, 8):
            rows = torch.tensor(data.train.rows(order[first : first + 8], (40,)).astype(np.int64))
            labels = torch.tensor(data.train.targets[order[first : first + 8]].argmax(axis=1))
            optimizer.zero_grad()
            theirs(input_ids=rows, attention_mask=(rows != 0).long(), labels=labels).loss.backward()
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
            optimizer.step()
            schedule.step()
    # A later epoch is always better.
    calls = iter(range(100))
    ours = fit([data], config, devices, parameters=whole, score=lambda *_: float(next(calls)))[0].parameters
    expected = from_huggingface(
        lambda name: theirs.get_parameter(name).detach().numpy(),
        shapes_of_parts(MODEL, TASK, ["backbone", "pooler", "classifier"]),
        MODEL,
    )
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected, whole)
    assert min(jax.tree.leaves(moved["backbone"]["layers"]["attention"]["query"])) > 1e-4
    assert_close(ours, expected, atol=2e-5)


def test_the_best_epoch_is_kept_and_patience_ends_a_job() -> None:
    def stopped(patience: int) -> Fitted:
        figures, config = iter([0.1, 0.3, 0.2, 0.2, 0.9]), dataclasses.replace(CONFIG, epochs=5, patience=patience)
        return fit([job("a", 24)], config, score=lambda *_: next(figures), observer=observer)[0]

    observer = Counting()
    one = stopped(patience=2)
    assert (one.epoch, one.figures) == (2, [0.1, 0.3, 0.2, 0.2])
    assert observer.steps == [1] * 4 * 3
    # The parameters are those of the second epoch, though two more were made.
    assert_close(one.parameters, stopped(patience=1).parameters, atol=0)


def test_an_epoch_that_says_the_same_of_everything_is_the_best_only_if_all_do() -> None:
    figures, flat = iter([0.9, 0.5, 0.6, 0.7]), iter([True, False, False, True])
    judged = {"score": lambda *_: next(figures), "collapsed": lambda *_: next(flat)}
    one = fit([job("a", 24)], dataclasses.replace(CONFIG, epochs=4), **judged)[0]
    assert (one.epoch, one.collapsed) == (3, 0)


def test_a_collapsed_job_begins_anew_with_another_seed() -> None:
    verdicts = iter([True, False, True, False])
    config = dataclasses.replace(CONFIG, epochs=1, restarts=2)
    observer = Counting()
    begin = time.monotonic()
    one, other = fit([job("a", 16), job("b", 16)], config, collapsed=lambda *_: next(verdicts), observer=observer)
    # Shares of what they took together; all attempts count.
    assert one.seconds + other.seconds <= time.monotonic() - begin
    assert one.seconds > other.seconds > 0
    assert (one.collapsed, other.collapsed) == (2, 0)
    assert one.seed == 2 * 1_000_003
    assert observer.restarts == ["a 1000003", "a 2000006"]


@pytest.mark.parametrize("train", ["lora", "head"])
def test_what_is_frozen_stays(train: str) -> None:
    trained = fit([job("a", 24)], dataclasses.replace(CONFIG, train=train))[0].parameters
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), trained["backbone"], network()["backbone"])
    adapted = changed["layers"].pop("attention")
    assert not any(jax.tree.leaves(changed))
    assert {tree["kernel"] for tree in adapted.values()} == {train == "lora"}
    assert not any(tree["bias"] for tree in adapted.values())


def test_a_low_rank_addition_starts_at_zero_and_has_its_rank() -> None:
    config = dataclasses.replace(CONFIG, train="lora", lora_rank=3, lora_alpha=6.0)
    frozen, trainable = split_trainable(network(), config, seed=0)
    assert_close(whole_model(frozen, trainable, config)["backbone"], network()["backbone"], atol=0)
    trainable = jax.tree.map(lambda leaf: leaf + 1, trainable)
    kernel = whole_model(frozen, trainable, config)["backbone"]["layers"]["attention"]["key"]["kernel"]
    addition = kernel - network()["backbone"]["layers"]["attention"]["key"]["kernel"]
    factors = trainable["lora"]["key"]
    np.testing.assert_allclose(addition, 2 * np.einsum("lir,lro->lio", factors["a"], factors["b"]), atol=1e-5)


def test_lower_layers_learn_more_slowly() -> None:
    factors = rate_factors(network(), num_layers=2, layer_decay=0.5, head_rate=3.0)
    assert factors["classifier"]["kernel"] == factors["pooler"]["dense"]["kernel"] == 3
    assert factors["backbone"]["layers"]["intermediate"]["kernel"].ravel().tolist() == [0.25, 0.5]
    assert factors["backbone"]["embeddings"]["token"]["table"] == 0.125


def test_small_sets_are_passed_over_more_often_and_large_ones_less() -> None:
    expected = {1: 20, 1_000: 16, 1_600: 10, 5_000: 10, 10_000: 5, 20_000: 3, 1_000_000: 3}
    assert {examples: FinetuneConfig(batch_size=32).epochs_of(examples) for examples in expected} == expected
    assert FinetuneConfig(epochs=4).epochs_of(10) == 4


@pytest.mark.parametrize(("weights", "smoothing"), [("none", 0.0), ("balanced", 0.0), ("none", 0.2)])
def test_weighted_and_smoothed_losses_are_those_of_pytorch(weights: str, smoothing: float) -> None:
    """Of one batch of all sequences, and so of the parameters to begin with."""
    data, whole = job("a", 25), network()
    changed = {"class_weights": weights, "label_smoothing": smoothing, "dropout": 0.0}
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=25, **changed)
    (logits,) = Judged(MODEL, whole, TASK, config, jax.devices()[:1]).predict([whole], [data.train])
    labels = torch.from_numpy(data.train.targets.argmax(axis=1))
    balanced = len(labels) / (2 * torch.bincount(labels)) if weights == "balanced" else None
    loss = torch.nn.CrossEntropyLoss(balanced, label_smoothing=smoothing)(torch.from_numpy(logits), labels)
    assert fit([data], config, parameters=whole)[0].losses[0] == pytest.approx(loss.item(), abs=1e-6)


def test_settings_that_the_host_alone_reads_need_no_other_compilation() -> None:
    shared = {"epochs": 7, "peak_learning_rate": 0.1, "max_steps": 9, "class_weights": "balanced", "seed": 5}
    assert dataclasses.replace(CONFIG, **shared).of_a_step == CONFIG.of_a_step
    compiled = {"train": "head", "remat": "full", "clip_norm": 9.0, "weight_decay": 0.3, "mask_rate": 0.5}
    for name, value in compiled.items():
        assert dataclasses.replace(CONFIG, **{name: value}).of_a_step != CONFIG.of_a_step


def test_settings_out_of_range_are_refused() -> None:
    rates = {"peak_learning_rate": -1.0, "head_rate": 0.0, "layer_decay": 0.0, "label_smoothing": 1.0, "dropout": 1.0}
    for name, value in {"epochs": -1, **rates}.items():
        with pytest.raises(InputError, match=name):
            FinetuneConfig(**{name: value})

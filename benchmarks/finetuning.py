"""Fine-tuning of several small jobs on CPU: in lockstep, beside one job after the other and beside transformers.

    python -m benchmarks.finetuning

A job is a data set of its own: 101-base windows of the embedded sample, half of them dinucleotide-free shuffles, one
epoch with AdamW from the same random weights, without dropout. In lockstep, each core is a device and has a job at a
time; one after the other, each job has all cores. transformers trains BertForSequenceClassification on the same
batches with PyTorch's AdamW, all cores a job. The mean training losses are compared first.
"""

import copy
import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable

import numpy as np

from benchmarks.alternation import Ready, Side, adamw, compare_sides, flags_of_sides, quiet_transformers
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import CLS, SEP
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig, FittingObserver
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit, epoch_order

_BASES, _NOISE, _LARGEST_DIFFERENCE = 101, 0.05, 1e-3
_PEERS = ("this project", "transformers")
_TASK = TaskConfig("single_label_classification", ("shuffled", "genomic"), dropout=0.0)


def main() -> None:
    """Measures and prints."""
    parser = flags_of_sides(__doc__, _PEERS, preset="tiny")
    parser.add_argument("--jobs", type=int, default=4, help="data sets (%(default)s)")
    parser.add_argument("--sequences", type=int, default=512, help="of each (%(default)s)")
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset].model, dropout=0.0, attention_dropout=0.0)
    settings = dataclasses.replace(
        FINETUNE_PRESETS["dnabert"], epochs=1, dropout=0.0, restarts=0, peak_learning_rate=1e-4
    )
    splits = [windows(config.k, arguments.sequences, job) for job in range(arguments.jobs)]
    what = config, settings, splits
    sides: dict[str, Side] = {
        "this project, one job after the other": functools.partial(this_project, *what, devices=1),
        "transformers, one job after the other": functools.partial(transformers_side, *what),
    }
    arguments.peers = [f"{name}, one job after the other" for name in arguments.peers]
    lockstep = functools.partial(this_project, *what, devices=arguments.threads)
    compare_sides(arguments, lockstep, sides.__getitem__, tokens_of(splits), _LARGEST_DIFFERENCE)


def tokens_of(splits: list[EncodedSplit]) -> int:
    """Returns the tokens of an epoch of all jobs; all sequences are of one length, so none is padding."""
    return sum(len(split.ids) for split in splits)


def windows(k: int, count: int, job: int) -> EncodedSplit:
    """Windows of the sample, every other one with its bases in another order."""
    draw = np.random.default_rng(job)
    letters = np.concatenate([block for _, _, block in read_blocks(TRAIN_FASTA)])
    codes = base_codes(letters, "the sample")
    rows = []
    for number, start in enumerate(draw.integers(0, len(codes) - _BASES, count)):
        window = codes[start : start + _BASES]
        own = window if number % 2 else draw.permutation(window)
        rows.append(np.concatenate([[CLS], KmerTokenizer(k).encode(own), [SEP]]).astype(np.uint16))
    targets = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    return EncodedSplit(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), targets, KmerTokenizer(k))


def this_project(
    config: ModelConfig, settings: FinetuneConfig, splits: list[EncodedSplit], devices: int
) -> tuple[Callable[[], float], Ready]:
    """Trains all jobs in lockstep on several devices, or one after the other on one."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import jax

    from benchmarks.integration_steps import noisy_model
    from dnabert_jax.tasks.finetuning.fitting import Fitting, Job

    fitting = Fitting(config, noisy_model(config, _TASK, _NOISE).parameters, _TASK, settings, jax.devices())
    # The same seed for all: nothing is random but the order. The validation split is next to nothing.
    split = splits[0]
    first = EncodedSplit(split.ids[: split.offsets[1]], split.offsets[:2], split.targets[:1], split.tokenizer)
    jobs = [Job(str(number), split, first, 0) for number, split in enumerate(splits)]
    groups = [jobs] if devices > 1 else [[job] for job in jobs]

    def losses() -> list[float]:
        return [one.losses[0] for group in groups for one in fitting.run(group, FittingObserver())]

    split_size, batch = len(splits[0]), settings.batch_size
    about = f"{len(splits)} jobs of {split_size} sequences in batches of {batch}, {tokens_of(splits):,} tokens."
    return lambda: sum(losses()), {"result": losses(), "computed": tokens_of(splits), "about": about}


def transformers_side(
    config: ModelConfig, settings: FinetuneConfig, splits: list[EncodedSplit]
) -> tuple[Callable[[], float], Ready]:
    """Trains BertForSequenceClassification on the same batches, AdamW and schedule."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch
    import transformers

    from benchmarks.integration_steps import noisy_model
    from dnabert_jax.pretrained import DNAModel

    quiet_transformers()
    with tempfile.TemporaryDirectory() as scratch:
        DNAModel(noisy_model(config, _TASK, _NOISE)).save_pretrained(f"{scratch}/model")
        untrained = transformers.AutoModelForSequenceClassification.from_pretrained(f"{scratch}/model")

    def loss_of_job(split: EncodedSplit) -> float:
        model = copy.deepcopy(untrained).train()
        betas = settings.beta1, settings.beta2
        optimizer = adamw(model, settings.weight_decay, lr=0.0, betas=betas, eps=settings.epsilon)
        order, length, size = epoch_order(len(split), 0, 1), int(split.lengths.max()), settings.batch_size
        steps, found = settings.total_steps(len(split)), []
        for step in range(steps):
            rows = order[step * size : (step + 1) * size]
            ids = torch.from_numpy(split.rows(rows, (length,)).astype(np.int64))
            labels = torch.from_numpy(split.targets[rows].argmax(axis=1))
            loss = model(input_ids=ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate(step, steps)
            optimizer.step()
            found.append(loss.item())
        return float(np.mean(found))

    losses = functools.partial(map, loss_of_job, splits)
    return lambda: sum(losses()), {"result": list(losses()), "computed": tokens_of(splits)}


if __name__ == "__main__":
    main()

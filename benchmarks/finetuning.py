"""Fine-tuning of several small jobs on CPU: in lockstep, beside one job after the other and beside transformers.

    python -m benchmarks.finetuning

A job is a data set of its own: 101-base windows of the embedded sample, half of them dinucleotide-free shuffles, one
epoch with AdamW from the same random weights, without dropout. In lockstep, each core is a device and has a job at a
time; one after the other, each job has all cores. transformers trains BertForSequenceClassification on the same
batches with PyTorch's AdamW, all cores a job. The mean training losses are compared first.
"""

import argparse
import dataclasses
import functools
import os
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from benchmarks.alternation import machine
from benchmarks.side_process import HEAD, Ready, Side, SideProcess, row
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import CLS, SEP
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit, epoch_order

_BASES, _LARGEST_DIFFERENCE = 101, 1e-3
_PEERS = ("this project", "transformers")
_TASK = TaskConfig("single_label_classification", ("shuffled", "genomic"), dropout=0.0)


@dataclasses.dataclass(frozen=True)
class Task:
    """What all sides do.

    Attributes:
        config: of the network.
        settings: of the fine-tuning.
        splits: what each job learns from.
        threads: of each side.
    """

    config: ModelConfig
    settings: FinetuneConfig
    splits: list[EncodedSplit]
    threads: int

    @property
    def tokens(self) -> int:
        """Of an epoch of all jobs; all sequences are of one length, so none is padding."""
        return sum(len(split.ids) for split in self.splits)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=list(PRESETS), help="size of the model (%(default)s)")
    parser.add_argument("--jobs", type=int, default=4, help="data sets (%(default)s)")
    parser.add_argument("--sequences", type=int, default=512, help="of each (%(default)s)")
    parser.add_argument(
        "--peers", nargs="+", choices=_PEERS, default=_PEERS, help="one job after the other (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset].model, dropout=0.0, attention_dropout=0.0)
    settings = dataclasses.replace(
        FINETUNE_PRESETS["dnabert"], epochs=1, dropout=0.0, restarts=0, peak_learning_rate=1e-4
    )
    splits = [windows(config.k, arguments.sequences, job) for job in range(arguments.jobs)]
    task = Task(config, settings, splits, arguments.threads)
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "transformers"))
    print(
        f"{machine()}; {task.threads} threads a side; load {os.getloadavg()[0]:.1f}; {arguments.rounds} rounds in "
        f"alternation; {versions}\n\n{arguments.jobs} jobs of {arguments.sequences} sequences, batches of "
        f"{settings.batch_size}, {arguments.preset}.\n\n{HEAD}",
        flush=True,
    )
    with SideProcess(functools.partial(this_project, devices=task.threads), task) as ours:
        sides: dict[str, Side] = {
            "this project": functools.partial(this_project, devices=1),
            "transformers": transformers_side,
        }
        for peer_name in arguments.peers:
            name = f"{peer_name}, one job after the other"
            with SideProcess(sides[peer_name], task) as peer:
                differences = np.abs(np.subtract(ours.ready["losses"], peer.ready["losses"]))
                if not differences.max() < _LARGEST_DIFFERENCE:
                    raise SystemExit(f"The losses of {name} differ by {differences.max()}: another model.")
                print(row(name, ours, peer, task.tokens, arguments.rounds), flush=True)


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


def this_project(task: Task, devices: int) -> tuple[Callable[[], float], Ready]:
    """All jobs in lockstep on several devices, or one after the other on one."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import jax

    from dnabert_jax.tasks.finetuning.fitting import Fitting, Job, Silent

    fitting = Fitting(task.config, weights(task), _TASK, task.settings, jax.devices())
    # The same seed for all: nothing is random but the order. The validation split is next to nothing.
    split = task.splits[0]
    first = EncodedSplit(split.ids[: split.offsets[1]], split.offsets[:2], split.targets[:1], split.tokenizer)
    jobs = [Job(str(number), split, first, 0) for number, split in enumerate(task.splits)]
    groups = [jobs] if devices > 1 else [[job] for job in jobs]

    def losses() -> list[float]:
        return [one.losses[0] for group in groups for one in fitting.run(group, Silent())]

    return lambda: sum(losses()), {"losses": losses(), "computed": task.tokens}


def weights(task: Task) -> dict[str, object]:
    """Random ones of the whole network, the same for all sides."""
    import jax

    from dnabert_jax.interop.huggingface import abstract_parameters

    draw = np.random.default_rng(0)
    shapes = abstract_parameters(task.config, _TASK, ["backbone", "pooler", "classifier"])
    drawn = jax.tree.map(lambda leaf: draw.normal(0, 0.05, leaf.shape).astype(np.float32), shapes)
    drawn["backbone"]["embeddings"]["token"]["table"][task.config.vocabulary_size :] = 0
    return drawn


def transformers_side(task: Task) -> tuple[Callable[[], float], Ready]:
    """BertForSequenceClassification on the same batches, AdamW and schedule."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import torch
    import transformers

    from dnabert_jax.families import family_of
    from dnabert_jax.interop.huggingface import to_huggingface
    from dnabert_jax.interop.task_settings import task_settings

    torch.set_num_threads(task.threads)
    transformers.utils.logging.set_verbosity_error()
    config = transformers.BertConfig(**family_of(task.config).settings(task.config), **task_settings(_TASK))
    begin = {name: torch.from_numpy(np.array(one)) for name, one in to_huggingface(weights(task), task.config).items()}

    def losses() -> list[float]:
        return [one_job(split) for split in task.splits]

    def one_job(split: EncodedSplit) -> float:
        model = transformers.BertForSequenceClassification(config).train()
        model.load_state_dict(begin, strict=False)
        decayed = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim < 2]
        settings = task.settings
        optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=0.0, betas=(settings.beta1, settings.beta2), eps=settings.epsilon,
        )  # fmt: skip
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

    return lambda: sum(losses()), {"losses": losses(), "computed": task.tokens}


if __name__ == "__main__":
    main()

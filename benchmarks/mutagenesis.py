"""In-silico mutagenesis on CPU: this project beside a plain loop over transformers, in variants a second.

    python -m benchmarks.mutagenesis

Every substitution of windows of the embedded sample, 900 of one of 300 bases, through a classifier of random weights in
one exported directory, in float32: `mutation_effects` here, `BertForSequenceClassification` with SDPA in inference mode
there, one variant at a time or 32. This project starts from text, transformers from ids: what its tokenizer takes is
not counted. The effects are compared first. As for `training_step`, on a busy machine only --threads 1 and core-seconds
mean anything.
"""

import argparse
import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.alternation import machine, measure
from benchmarks.side_process import Ready, SideProcess, spread
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.bases import BASES, base_codes
from dnabert_jax.sequence.vocabulary import CLS, SEP

_HEAD = (
    "| beside | its variants a second: median (min - max) | this project's beside it "
    "| this project is faster, times | its core-seconds a round | this project's | its peak GB |\n"
    "|---|---|---|---|---|---|---|"
)
_PEERS = {"one at a time": 1, "32 together": 32}
_LARGEST_DIFFERENCE = 1e-4
_TASK = TaskConfig("single_label_classification", ("no", "yes"))


@dataclasses.dataclass(frozen=True)
class Task:
    """What both sides compute.

    Attributes:
        config: of the network.
        windows: codes of bases, [sequences, bases].
        directory: of the exported model, which this project's side writes.
        threads: of each side.
    """

    config: ModelConfig
    windows: np.ndarray
    directory: Path
    threads: int

    @property
    def variants(self) -> int:
        return 3 * self.windows.size


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="dnabert6", choices=list(PRESETS), help="size of the model (%(default)s)")
    parser.add_argument("--sequences", type=int, default=1, help="that are changed (%(default)s)")
    parser.add_argument("--bases", type=int, default=300, help="of each (%(default)s)")
    parser.add_argument("--peers", nargs="+", choices=list(_PEERS), default=list(_PEERS), help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each, in alternation (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        windows = certain_windows(arguments.sequences, arguments.bases)
        task = Task(PRESETS[arguments.preset].model, windows, Path(scratch) / "model", arguments.threads)
        versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "torch", "transformers"))
        print(
            f"{machine()}; {task.threads} threads a side; load {os.getloadavg()[0]:.1f}; {arguments.rounds} rounds in "
            f"alternation; {versions}\n\n{task.variants:,} variants of {arguments.sequences} sequences of "
            f"{arguments.bases} bases, {arguments.preset}.\n\n{_HEAD}",
            flush=True,
        )
        # This project first: it writes the weights.
        with SideProcess(this_project, task) as ours:
            for name in arguments.peers:
                with SideProcess(functools.partial(transformers_side, together=_PEERS[name]), task) as peer:
                    difference = float(np.abs(ours.ready["effects"] - peer.ready["effects"]).max())
                    if not difference < _LARGEST_DIFFERENCE:
                        raise SystemExit(f"The effects of {name} differ by {difference}: another model.")
                    print(row(name, ours, peer, task.variants, arguments.rounds), flush=True)


def row(name: str, ours: SideProcess, peer: SideProcess, variants: int, rounds: int) -> str:
    """Measures a peer beside this project."""
    rates = measure({"ours": ours.step, "theirs": peer.step}, {"ours": variants, "theirs": variants}, rounds)
    faster = [mine / theirs for mine, theirs in zip(rates["ours"], rates["theirs"], strict=True)]
    return (
        f"| {name} | {spread(rates['theirs'], 1)} | {spread(rates['ours'], 1)} | {spread(faster, 2)} "
        f"| {spread(peer.core_seconds[-rounds:], 1)} | {spread(ours.core_seconds[-rounds:], 1)} "
        f"| {peer.peak_memory():.1f} |"
    )


def certain_windows(count: int, bases: int) -> np.ndarray:
    """Codes of windows of the sample that have no letters such as N."""
    draw = np.random.default_rng(0)
    codes = base_codes(np.concatenate([block for _, _, block in read_blocks(TRAIN_FASTA)]), "the sample")
    starts = draw.integers(0, len(codes) - bases, 100 * count)
    windows = [codes[start : start + bases] for start in starts]
    return np.array([window for window in windows if window.max() < 4][:count])


def this_project(task: Task) -> tuple[Callable[[], float], Ready]:
    """`mutation_effects`, from text; it also writes the weights."""
    import jax
    from flax import nnx

    from dnabert_jax.interpret.mutagenesis import mutation_effects
    from dnabert_jax.interpret.target import choose_target
    from dnabert_jax.model.classification import SequenceClassifier
    from dnabert_jax.pretrained import DNAModel
    from dnabert_jax.training.saved_model import Description, SavedModel

    if jax.devices()[0].platform != "cpu" or jax.device_count() > 1:
        raise SystemExit(f"{jax.devices()} is not one CPU: unset XLA_FLAGS and set JAX_PLATFORMS=cpu.")
    draw = np.random.default_rng(0)
    module = SequenceClassifier(task.config, _TASK, rngs=nnx.Rngs(0))
    parameters = jax.device_get(nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    # Far enough from the initial ones that substitutions have effects.
    parameters = jax.tree.map(lambda x: np.asarray(x + draw.normal(0, 0.02, x.shape), np.float32), parameters)
    model = DNAModel(SavedModel(Description(task.config, _TASK, {}), 0, parameters))
    model.save_pretrained(task.directory)
    texts = ["".join(BASES[code] for code in window) for window in task.windows]
    target = choose_target(model, "The benchmark", "yes")

    def effects() -> np.ndarray:
        found = [one.effects for one in mutation_effects(model, [("", text) for text in texts], target)]
        # The base that is there has no effect.
        return np.concatenate([own[own_mask(w)] for own, w in zip(found, task.windows, strict=True)])

    return lambda: float(effects().sum()), {"effects": effects(), "computed": task.variants}


def own_mask(window: np.ndarray) -> np.ndarray:
    """Which of the columns A, C, G and T are substitutions, [bases, 4]."""
    return window[:, None] != base_codes(b"ACGT")


def transformers_side(task: Task, together: int) -> tuple[Callable[[], float], Ready]:
    """BertForSequenceClassification with SDPA in inference mode, over the same variants in the same order."""
    import torch
    import transformers

    torch.set_num_threads(task.threads)
    transformers.utils.logging.set_verbosity_error()
    loaded = transformers.AutoModelForSequenceClassification
    model = loaded.from_pretrained(task.directory, attn_implementation="sdpa").eval()
    ids, counts = [], []
    for window in task.windows:
        places, columns = np.nonzero(own_mask(window))
        variants = np.repeat(window[None], len(places) + 1, axis=0)
        variants[np.arange(1, len(variants)), places] = base_codes(b"ACGT")[columns]
        counts.append(len(variants))
        ids += [np.concatenate([[CLS], task.config.tokenizer.encode(own), [SEP]]) for own in variants]
    # The windows are of one length: nothing is padding, so no mask is needed.
    batches = torch.from_numpy(np.array(ids, np.int64)).split(together)

    def effects() -> np.ndarray:
        with torch.inference_mode():
            logits = torch.cat([model(input_ids=batch).logits[:, 1] for batch in batches]).numpy()
        of_windows = np.split(logits, np.cumsum(counts)[:-1])
        return np.concatenate([own[1:] - own[0] for own in of_windows])

    return lambda: float(effects().sum()), {"effects": effects(), "computed": task.variants}


if __name__ == "__main__":
    main()

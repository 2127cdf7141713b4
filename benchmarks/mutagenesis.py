"""In-silico mutagenesis on CPU: this project beside a plain loop over transformers, in variants a second.

    python -m benchmarks.mutagenesis

Every substitution of windows of the embedded sample, 900 of one of 300 bases, through a classifier of random weights in
one exported directory, in float32: `mutation_effects` here, `BertForSequenceClassification` with SDPA in inference mode
there, one variant at a time or 32. This project starts from text, transformers from ids: what its tokenizer takes is
not counted. The effects are compared first. As for `training_step`, on a busy machine only --threads 1 and core-seconds
mean anything.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.alternation import Ready, check_one_cpu, compare_sides, flags_of_sides, quiet_transformers
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.families import PRESETS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import TRAIN_FASTA
from dnabert_jax.sequence.bases import BASES, base_codes
from dnabert_jax.sequence.vocabulary import CLS, SEP

_PEERS = {"one at a time": 1, "32 together": 32}
_LARGEST_DIFFERENCE = 1e-4
_TASK = TaskConfig("single_label_classification", ("no", "yes"))


def main() -> None:
    """Measures and prints."""
    parser = flags_of_sides(__doc__, list(_PEERS))
    parser.add_argument("--sequences", type=int, default=1, help="that are changed (%(default)s)")
    parser.add_argument("--bases", type=int, default=300, help="of each (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        windows = certain_windows(arguments.sequences, arguments.bases)
        what = PRESETS[arguments.preset].model, windows, Path(scratch) / "model"
        ours = functools.partial(this_project, *what)
        peer = lambda name: functools.partial(transformers_side, *what, _PEERS[name])  # noqa: E731
        compare_sides(arguments, ours, peer, 3 * windows.size, _LARGEST_DIFFERENCE, "variants", digits=1)


def certain_windows(count: int, bases: int) -> np.ndarray:
    """Codes of windows of the sample that have no letters such as N."""
    draw = np.random.default_rng(0)
    codes = base_codes(np.concatenate([block for _, _, block in read_blocks(TRAIN_FASTA)]), "the sample")
    starts = draw.integers(0, len(codes) - bases, 100 * count)
    windows = [codes[start : start + bases] for start in starts]
    return np.array([window for window in windows if window.max() < 4][:count])


def this_project(config: ModelConfig, windows: np.ndarray, directory: Path) -> tuple[Callable[[], float], Ready]:
    """Makes `mutation_effects` of windows, from text; it also writes the weights."""
    from benchmarks.integration_steps import noisy_model
    from dnabert_jax.interpret.mutagenesis import mutation_effects
    from dnabert_jax.interpret.target import choose_target
    from dnabert_jax.pretrained import DNAModel

    check_one_cpu()
    # Far enough from the initial ones that substitutions have effects.
    model = DNAModel(noisy_model(config, _TASK, deviation=0.02))
    model.save_pretrained(directory)
    texts = ["".join(BASES[code] for code in window) for window in windows]
    target = choose_target(model, "The benchmark", "yes")

    def effects() -> np.ndarray:
        found = [one.effects for one in mutation_effects(model, [("", text) for text in texts], target)]
        # The base that is there has no effect.
        return np.concatenate([own[own_mask(window)] for own, window in zip(found, windows, strict=True)])

    about = f"{3 * windows.size:,} variants of {len(texts)} sequences of {len(texts[0])} bases."
    return lambda: float(effects().sum()), {"result": effects(), "about": about}


def own_mask(window: np.ndarray) -> np.ndarray:
    """Which of the columns A, C, G and T are substitutions, [bases, 4]."""
    return window[:, None] != base_codes(b"ACGT")


def transformers_side(
    config: ModelConfig, windows: np.ndarray, directory: Path, together: int
) -> tuple[Callable[[], float], Ready]:
    """Makes BertForSequenceClassification with SDPA in inference mode, over the same variants in the same order."""
    import torch
    import transformers

    quiet_transformers()
    loaded = transformers.AutoModelForSequenceClassification
    model = loaded.from_pretrained(directory, attn_implementation="sdpa").eval()
    ids, counts = [], []
    for window in windows:
        places, columns = np.nonzero(own_mask(window))
        variants = np.repeat(window[None], len(places) + 1, axis=0)
        variants[np.arange(1, len(variants)), places] = base_codes(b"ACGT")[columns]
        counts.append(len(variants))
        ids += [np.concatenate([[CLS], config.tokenizer.encode(own), [SEP]]) for own in variants]
    # The windows are of one length: nothing is padding, so no mask is needed.
    batches = torch.from_numpy(np.array(ids, np.int64)).split(together)

    def effects() -> np.ndarray:
        with torch.inference_mode():
            logits = torch.cat([model(input_ids=batch).logits[:, 1] for batch in batches]).numpy()
        of_windows = np.split(logits, np.cumsum(counts)[:-1])
        return np.concatenate([own[1:] - own[0] for own in of_windows])

    return lambda: float(effects().sum()), {"result": effects(), "computed": 3 * windows.size}


if __name__ == "__main__":
    main()

"""By how much integrated gradients miss output - baseline, for several numbers of steps.

    python -m benchmarks.integration_steps

Random sequences and weights: those that training begins with, and normal noise of a deviation added to each. The larger
it is, the steeper and less even is the way from the baseline: a hard case, not a trained model.
"""

import random

import jax
import numpy as np

from benchmarks.alternation import flags, machine
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.attribution import integrated_gradients
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.model.binding import random_parameters
from dnabert_jax.model.classification import SequenceClassifier
from dnabert_jax.pretrained import DNAModel
from dnabert_jax.training.saved_model import Description, SavedModel

_TASK = TaskConfig("single_label_classification", ("no", "yes"))


def main() -> None:
    """Measures and prints."""
    parser = flags(__doc__)
    parser.add_argument("--hidden", type=int, default=16, help="size of a vector (%(default)s)")
    parser.add_argument("--layers", type=int, default=2, help="of the encoder (%(default)s)")
    parser.add_argument("--deviations", type=float, nargs="+", default=[0.5], help="(%(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=[12, 50, 200, 800], help="(%(default)s)")
    parser.add_argument("--sequences", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--bases", type=int, default=100, help="of each (%(default)s)")
    arguments = parser.parse_args()
    config = ModelConfig(
        k=3, hidden_size=arguments.hidden, num_layers=arguments.layers, num_heads=2,
        intermediate_size=2 * arguments.hidden, max_positions=max(128, arguments.bases),
    )  # fmt: skip
    draw = random.Random(0)  # noqa: S311
    sequences = [(str(row), "".join(draw.choices("ACGT", k=arguments.bases))) for row in range(arguments.sequences)]
    print(f"{machine()}\n\n| deviation | steps | worst gap | worst relative gap | sequences above 5 % |")
    print("|---|---|---|---|---|", flush=True)
    for deviation in arguments.deviations:
        model = DNAModel(noisy_model(config, _TASK, deviation))
        target = choose_target(model, "The benchmark", "yes")
        for steps in arguments.steps:
            found = list(integrated_gradients(model, sequences, target, steps=steps))
            shares = np.array([one.relative_gap for one in found])
            gap = max(one.gap for one in found)
            print(f"| {deviation} | {steps} | {gap:.2g} | {shares.max():.2%} | {(shares > 0.05).sum()} |", flush=True)


def noisy_model(config: ModelConfig, task: TaskConfig, deviation: float) -> SavedModel:
    """Returns a classifier of random weights."""
    draw = np.random.default_rng(0)
    parameters = jax.device_get(random_parameters(SequenceClassifier, jax.random.key(0), config, task))
    parameters = jax.tree.map(lambda x: np.asarray(x + draw.normal(0, deviation, x.shape), np.float32), parameters)
    return SavedModel(Description(config, task, {}), 0, parameters)


if __name__ == "__main__":
    main()

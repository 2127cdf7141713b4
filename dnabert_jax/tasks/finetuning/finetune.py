"""Fine-tunes a model on labelled data sets with one or several seeds, measures it on their test splits, and writes it.

C labels.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Float

from dnabert_jax.config import require
from dnabert_jax.io.pictures import accompanying
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.outputs import output_directory
from dnabert_jax.storage import Location, write_text
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.finetuning.checkpoint import FittingCheckpoint
from dnabert_jax.tasks.finetuning.config import FinetuneConfig, FittingObserver
from dnabert_jax.tasks.finetuning.encoding import EncodedSplit, encode_split, task_to_learn, windowed_task
from dnabert_jax.tasks.finetuning.fitting import Fitted, Fitting, Job
from dnabert_jax.tasks.finetuning.probe import fit_probe, pooled_vectors
from dnabert_jax.tasks.finetuning.trainable import kept_parts
from dnabert_jax.tasks.measures.curves import draw_curves
from dnabert_jax.tasks.measures.metrics import measure, validation_metric
from dnabert_jax.tasks.measures.results import RESULT_FILE, Result, SeedResult, new_result, result_markdown
from dnabert_jax.training.saved_model import DESCRIPTION_FILE, Description, SavedModel, fill_saved_model
from dnabert_jax.training.state import init_parameters
from dnabert_jax.typed_json import to_json

_RANDOM = "random_weights"
"""In the provenance of a model that no training was done to."""

RESAMPLES = 1000
"""Bootstrap resamples behind the intervals of a test split's metrics."""


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """What fine-tuning made: a model for each seed, and the test split's scores by the best one, `result.best`."""

    result: Result
    fitted: list[Fitted]
    scores: Float[np.ndarray, "n C"]


def from_scratch(model: SavedModel, config: FinetuneConfig) -> SavedModel:
    """Returns the same network with random weights, anew for each seed, to see what pre-training gives.

    Where the encoder stays as it is, it is one that all seeds share.
    """
    parameters = {}
    if config.train != "full":
        parameters["backbone"] = jax.device_get(init_parameters(model.config, config.seed)["backbone"])
    description = dataclasses.replace(model.description, provenance={_RANDOM: True})
    return SavedModel(description, 0, parameters)


@fixed_settings()
def finetune_sets(
    model: SavedModel,
    sets: Mapping[str, LabelledData],
    config: FinetuneConfig,
    seeds: int,
    devices: Sequence[jax.Device],
    observer: FittingObserver,
    checkpoint: FittingCheckpoint | None = None,
    base_model: str = "",
) -> dict[str, Finetuned]:
    """Trains, for each data set, `seeds` models from config.seed on, all in lockstep; measures each on its test split.

    Args:
        model: to begin with; its own classifier, if it has one, is not used.
        sets: by name, with the splits train, validation and test; of one problem and with equally many labels.
        checkpoint: to keep what was done in, and to go on from.
        base_model: what the model was read from, for the results.

    Raises:
        InputError: data and model do not fit together, or the metric to select by is none of the task's.
        JobError: a loss is not finite, or a checkpoint cannot be written.
        StoppedError: the checkpoint was asked to stop.
    """
    config = config.resolved(model.config.hidden_size)
    every_split = [split for data in sets.values() for split in data.splits.values()]
    tasks = {}
    for name, data in sets.items():
        # How many windows there are is part of the network where they lie side by side: then neighbours have no say.
        of_whom = data.splits.values() if config.long == "concatenation" else every_split
        tasks[name] = windowed_task(task_to_learn(data, config), config, model.config, of_whom)
    # Names of labels are a set's own: without them, one compiled step serves all sets. But one may be selected by.
    named = "/" in config.select_by
    task, *others = (named_task if named else named_task.without_names for named_task in tasks.values())
    alike = all(other == task for other in others)
    require(alike, f"{', '.join(sets)} do not ask the same of a model: fine-tune them apart.")
    require(
        config.class_weights == "none" or task.kind.exclusive,
        f"class_weights is {config.class_weights}: only labels that exclude each other are weighed. Leave it out.",
    )
    validation_metric(task, config.select_by)  # raises InputError before anything is trained
    fitting = Fitting(model.config, kept_parts(model.parameters, task), task, config, devices)
    seeds = 1 if config.train == "probe" else seeds  # nothing in a probe is random

    def advance(what: str, done: int, total: int) -> None:
        observer.advanced(what, done, total)
        if checkpoint is not None:
            checkpoint.check_stop()

    begin = time.monotonic()
    jobs, tests = _jobs(fitting, sets, seeds, advance)
    seconds = (time.monotonic() - begin) / len(jobs)
    fitted = fitting.run(jobs, observer, checkpoint)
    measured = functools.partial(advance, "compute intervals", total=RESAMPLES * len(fitted))
    predicted = functools.partial(advance, "predict the test split", total=sum(map(len, tests)))
    logits = fitting.predict([job.parameters for job in fitted], tests, predicted)
    method = "probe" if config.train == "probe" else f"{config.train} fine-tuning"
    method += " from the probe" * (config.start == "probe" and config.train != "probe")
    method += " from random weights" * (_RANDOM in model.description.provenance)
    method += f", {task.long} over windows" * (task.long != "none")
    done = {}
    for number, (name, data) in enumerate(sets.items()):
        of_set, labels = slice(number * seeds, (number + 1) * seeds), data.splits["test"].labels
        models, scores = fitted[of_set], [task.kind.probabilities(job_logits) for job_logits in logits[of_set]]
        results = []
        for job, job_scores in zip(models, scores, strict=True):
            metrics = measure(tasks[name], job_scores, labels, resamples=RESAMPLES, seed=job.seed, advance=measured)
            results.append(SeedResult(job.seed, seconds + job.seconds, metrics, job.collapsed > config.restarts))
        best = int(np.argmax([job.figure for job in models]))
        if config.train != "probe" and models[best].epoch == 0:
            note = "No epoch is better on the validation split than the probe, which is kept."
            data = dataclasses.replace(data, notes=(*data.notes, note))
        result = new_result(name, method, data, tuple(results), tasks[name], base_model, best)
        done[name] = Finetuned(result, models, scores[best])
    return done


def _jobs(
    fitting: Fitting, sets: Mapping[str, LabelledData], seeds: int, advance: Callable[[str, int, int], None]
) -> tuple[list[Job], list[EncodedSplit]]:
    """Returns what is trained, and the test split of each."""
    config, task = fitting.config, fitting.task
    # Vectors differ between seeds if a part of the network that makes them starts at random.
    random = not {"backbone", *(["pooler"] if task.pooling == "cls" else [])} <= fitting.parameters.keys()
    jobs, tests = [], []
    for name, data in sets.items():
        splits = {str(split): encode_split(rows, task, fitting.model) for split, rows in data.splits.items()}
        test, classifier = splits.pop("test"), None
        for seed in range(config.seed, config.seed + seeds):
            if "probe" in (config.train, config.start) and (random or classifier is None):
                vectors = pooled_vectors(fitting, seed, splits, functools.partial(advance, "embed"))
                classifier = fit_probe(data, config.select_by, vectors)
            jobs.append(Job(f"{name}, seed {seed}", splits["train"], splits["validation"], seed, classifier))
            tests.append(test)
    return jobs, tests


def write_finetuned(
    out: Location,
    done: Finetuned,
    model: SavedModel,
    data: LabelledData,
    config: FinetuneConfig,
    checkpoint: FittingCheckpoint | None = None,
) -> None:
    """Writes a model directory with the best seed's model, and beside it the result, pictures and configuration.

    With a checkpoint its log is copied, and then all of it removed, as the run is complete.
    """
    best = done.fitted[done.result.best]
    provenance = {
        **model.description.provenance,
        "finetuning": {
            "config": dataclasses.asdict(config),
            "data": done.result.name,
            "sizes": done.result.sizes,
            "lengths": done.result.lengths and dataclasses.asdict(done.result.lengths),
            "positive": done.result.task.positive,
            "notes": list(data.notes),
            "seed": best.seed,
            "epoch": best.epoch,
            "test": {key: figure.value for key, figure in done.result.seeds[done.result.best].metrics.values.items()},
        },
    }
    with output_directory(out, DESCRIPTION_FILE) as directory:
        description = Description(model.config, done.result.task, provenance)
        fill_saved_model(directory, SavedModel(description, best.epoch, best.parameters))
        (directory / RESULT_FILE).write_text(to_json(done.result), "utf-8")
        (directory / "finetune.json").write_text(to_json(config), "utf-8")
        if checkpoint is not None:
            checkpoint.copy_log(directory)
        with accompanying(table := directory / "result.md"):
            write_text(table, result_markdown(done.result))
        draw_curves(done.result.task, done.scores, data.splits["test"].labels, directory / "curves", done.result.name)
    if checkpoint is not None:
        checkpoint.remove()

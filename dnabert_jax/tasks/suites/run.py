"""Runs a suite: sets are read as their turn comes, trained in lockstep with others, and written one by one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax

from dnabert_jax import storage
from dnabert_jax.config import TaskConfig
from dnabert_jax.errors import InputError, JobError, device_memory_errors
from dnabert_jax.storage import Location, join
from dnabert_jax.tasks.baselines.baselines import run_baseline
from dnabert_jax.tasks.datasets.labelled import LabelledData
from dnabert_jax.tasks.datasets.splits import drop_duplicates, limit_training, read_splits
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.finetune import RESAMPLES, Finetuned, finetune_sets, from_scratch, write_finetuned
from dnabert_jax.tasks.finetuning.fitting import FittingObserver
from dnabert_jax.tasks.measures.results import Result
from dnabert_jax.tasks.suites.directory import MODELS, Contender, Evaluation, SuiteResults
from dnabert_jax.tasks.suites.suite import LabelledSet, settings_of
from dnabert_jax.training.saved_model import DESCRIPTION_FILE, SavedModel


@runtime_checkable
class SuiteObserver(FittingObserver, Protocol):
    """Is told what happens, for a progress bar."""

    def finished(self, contender: Contender, result: Result) -> None:
        """A result was written."""

    def skipped(self, contender: Contender, name: str) -> None:
        """A result was there already."""

    def failed(self, contender: Contender, name: str, reason: str) -> None:
        """A set has no result."""


class SuiteRun:
    """One process's part of a suite.

    Args:
        model: to begin with.
        evaluation: what is evaluated.
        results: where results go.
        devices: to train on.
        observer: told of all that happens.
        keep_models: whether the model of each set's best seed is kept, beside the results.
        base_model: what the model was read from, for the results.
    """

    def __init__(
        self,
        model: SavedModel,
        evaluation: Evaluation,
        results: SuiteResults,
        devices: Sequence[jax.Device],
        observer: SuiteObserver,
        keep_models: bool = False,
        base_model: str = "",
    ):
        self._model, self._evaluation, self._results = model, evaluation, results
        self._devices, self._observer, self._keep_models = devices, observer, keep_models
        self._base_model = base_model
        self._sets: dict[str, LabelledSet] = {}

    def run(self, groups: Sequence[Sequence[LabelledSet]], contenders: Sequence[Contender]) -> None:
        """Evaluates groups of sets, one group after the other; what is done already is left alone.

        A set that cannot be read or trained is noted as a failure, and stops no other.

        Raises:
            StoreError: the results cannot be written.
        """
        for group in groups:
            wanted = {
                contender: [one.name for one in group if not self._is_done(contender, one)] for contender in contenders
            }
            self._sets = {one.name: one for one in group}
            data = self._read([one for one in group if any(one.name in names for names in wanted.values())], wanted)
            for contender, names in wanted.items():
                sets = {name: data[name] for name in names if name in data}
                if contender in ("finetuned", "random"):
                    for settings, alike in self._alike(sets):
                        self._train(contender, settings, alike)
                else:
                    for name, own in sets.items():
                        self._fit_baseline(contender, name, own)

    def _is_done(self, contender: Contender, data: LabelledSet) -> bool:
        done = self._results.has(contender, data)
        if done:
            self._observer.skipped(contender, data.name)
        return done

    def _read(self, sets: Sequence[LabelledSet], wanted: Mapping[Contender, Sequence[str]]) -> dict[str, LabelledData]:
        found = {}
        for one in sets:
            try:
                found[one.name] = self._prepared(one.path)
            except InputError as error:
                for contender, names in wanted.items():
                    if one.name in names:
                        self._fail(contender, one.name, error)
        return found

    def _prepared(self, path: Path) -> LabelledData:
        """Reads a set as `dnabert-jax finetune` does."""
        evaluation, seed = self._evaluation, self._evaluation.settings.seed
        data = read_splits(path, self._model.config.k, evaluation, seed)
        if not evaluation.keep_duplicates:
            data = drop_duplicates(data)
        return limit_training(data, evaluation.limit, seed) if evaluation.limit else data

    def _alike(self, sets: Mapping[str, LabelledData]) -> list[tuple[FinetuneConfig, dict[str, LabelledData]]]:
        """What may be trained in lockstep: of one problem, with equally many labels, by the same settings."""
        found: dict[tuple[FinetuneConfig, TaskConfig], dict[str, LabelledData]] = {}
        for name, data in sets.items():
            settings = self._evaluation.settings
            if not self._evaluation.same_settings:
                settings = settings_of(self._evaluation.suite, name, settings)
            found.setdefault((settings, data.task.without_names), {})[name] = data
        return [(settings, alike) for (settings, _), alike in found.items()]

    def _train(self, contender: Contender, settings: FinetuneConfig, sets: dict[str, LabelledData]) -> None:
        model = from_scratch(self._model, settings) if contender == "random" else self._model
        seeds = self._evaluation.seeds
        try:
            with device_memory_errors("use a smaller --batch-size, fewer sets --together, or fewer --seeds"):
                done = finetune_sets(
                    model, sets, settings, seeds, self._devices, self._observer, base_model=self._base_model
                )
        except (InputError, JobError) as error:
            if len(sets) == 1:
                self._fail(contender, next(iter(sets)), error)
                return
            # One of them is at fault: each by itself, all others get their result.
            for name, data in sets.items():
                self._train(contender, settings, {name: data})
            return
        for name, own in done.items():
            if contender == "finetuned" and self._keep_models:
                self._keep(join(join(self._results.directory, MODELS), name), own, sets[name], settings)
            self._write(contender, own.result)

    def _keep(self, directory: Location, done: Finetuned, data: LabelledData, settings: FinetuneConfig) -> None:
        # A process that was killed may have kept the model and not its result, which comes after.
        if DESCRIPTION_FILE not in storage.names(directory):
            write_finetuned(directory, done, self._model, data, settings)

    def _fit_baseline(self, contender: Contender, name: str, data: LabelledData) -> None:
        seeds = range(self._evaluation.settings.seed, self._evaluation.settings.seed + self._evaluation.seeds)
        try:
            total = RESAMPLES * len(seeds)
            result = run_baseline(
                contender, data, name, self._model.config.k, seeds, resamples=RESAMPLES,
                advance=lambda done: self._observer.advanced("compute intervals", done, total),
            )  # fmt: skip
        except (InputError, JobError) as error:
            self._fail(contender, name, error)
            return
        self._write(contender, result)

    def _write(self, contender: Contender, result: Result) -> None:
        self._results.write(contender, result, self._sets[result.name])
        self._observer.finished(contender, result)

    def _fail(self, contender: Contender, name: str, error: InputError | JobError) -> None:
        self._results.fail(contender, name, str(error))
        self._observer.failed(contender, name, str(error))

"""`dnabert-jax evaluate`."""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from dnabert_jax.commands.console import BarContext, progress_bar
from dnabert_jax.commands.flags import parse_from_preset
from dnabert_jax.config import require, require_in
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.io.peak_index import INDEX_FILE, PeakFile, read_peak_index
from dnabert_jax.io.text import WHOLE
from dnabert_jax.storage import Location, is_url, join
from dnabert_jax.tasks.datasets.layout import DataOptions
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig, FittingObserver
from dnabert_jax.tasks.suites.suite import SUITES, LabelledSet, Method, SuiteName, find_sets, groups_by_size, part_of

if TYPE_CHECKING:
    from dnabert_jax.tasks.measures.results import Result
    from dnabert_jax.training.saved_model import SavedModel


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Fine-tune a model on each data set of a suite, and sum up.

    Example: dnabert-jax evaluate tfbs690 --data encode690/ --model models/dnabert6 --out results
    --methods finetuned probe kmer cnn

    Attributes:
        suite: tfbs690, the ENCODE sets of DNABERT; gue; mouse, the mouse sets of DNABERT; or suite, sets of your own.
        data: Directory with a folder or table for each data set, at any depth; or one data set.
        model: Run directory, model directory, Hugging Face directory, or OWNER/NAME on its hub.
        out: Directory of the results, local or a URL that several machines write to; if it is there, what is missing
            is added.
        methods: What is evaluated, on the same splits: finetuned; probe, logistic regression on the vectors of the
            frozen model, which takes seconds, and probe-forest, a random forest on them; random, the same network
            fine-tuned from random weights; logistic regression on k-mers (kmer) or gapped k-mers; cnn, a small
            convolutional network. The first is compared with the others.
        seeds: Models for each set, in lockstep.
        preset: default; dnabert, as in its README; or gue, as in GUE's scripts.
        same_settings: With the preset gue, train all sets by the same settings, rather than with the epochs that GUE
            has for each task.
        limit: Use at most this many training rows of a set, drawn by the seed.
        learning_curve: Training rows to evaluate with, one after the other, as 100 300 1000 all; makes a table and a
            plot of all.
        compare: Tables of other systems to compare with, such as published figures or finetuned.tsv of another
            evaluation: a column name, set or dataset, and columns called like metrics.
        together: Sets of like size that are trained in lockstep; if not given, as many as give each device a job.
        processes: Into how many parts the suite is shared out, on one machine or several.
        process: Which part this is, from 0.
        keep_models: Keep the model of each set's best seed, in models/ of --out.
        step: Checkpoint of the run to begin with; the latest if not given.
        options: How each set is read; --positive counts in those that have that class.
        settings: Whatever of the preset is to be otherwise.
    """

    suite: tyro.conf.Suppress[SuiteName]
    data: Path
    model: str
    out: Location
    methods: tuple[Method, ...] = ("finetuned",)
    seeds: int = 1
    preset: str = "default"
    same_settings: bool = False
    limit: int = 0
    learning_curve: tuple[str, ...] = ()
    compare: tuple[Path, ...] = ()
    together: int = 0
    processes: int = 1
    process: int = 0
    keep_models: bool = False
    step: int | None = None
    options: Annotated[DataOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=DataOptions)
    settings: Annotated[FinetuneConfig, tyro.conf.arg(name="")] = FINETUNE_PRESETS["default"]

    def run(self) -> None:
        """Evaluates, writes, and says what came of it."""
        self._check()
        require_extra("finetune", "An evaluation", "matplotlib", "sklearn")
        sets = find_sets(self.data)
        _one_device_a_processor()
        from dnabert_jax.interop.load import read_model
        from dnabert_jax.tasks.measures.metrics import validation_metric
        from dnabert_jax.tasks.suites.published import read_published
        from dnabert_jax.tasks.suites.report import write_learning_curve, write_report

        names = [each.name for each in sets]
        others = {_table_name(path): read_published(path, names) for path in self.compare}
        report = functools.partial(write_report, others=others, index=_peak_index(self.data / INDEX_FILE))
        model = read_model(self.model, self.step)
        curve = {}
        for rows in sorted(self.learning_curve, key=lambda rows: math.inf if rows == "all" else int(rows)) or [""]:
            if rows:
                print(f"Training rows: {rows}")
            out = join(self.out, f"rows-{rows}") if rows else self.out
            limit = int(rows) if rows.isdigit() else self.limit
            curve[rows] = self._evaluate(sets, model, limit, out, report)
        tasks = [result.task for by_method in curve.values() for results in by_method.values() for result in results]
        if self.learning_curve and tasks:
            metric = validation_metric(tasks[0], self.settings.select_by)
            text, files = write_learning_curve(curve, metric, self.out)
            print(text)
            print(f"Written to {self.out}: {', '.join(files)}; the results with so many rows are in rows-*/.")

    def _evaluate(
        self, sets: Sequence[LabelledSet], model: "SavedModel", limit: int, out: Location, report: Callable[..., Any]
    ) -> "Mapping[str, Sequence[Result]]":
        """Evaluates with so many training rows at most, 0 for all; returns the results that are there."""
        import jax

        from dnabert_jax.tasks.finetuning.checkpoint import named_model, weights_digest
        from dnabert_jax.tasks.suites.run import Evaluation, SuiteResults, SuiteRun

        name = named_model(self.model, model)
        settings = self.settings, self.same_settings or self.preset != self.suite
        evaluation = Evaluation(self.suite, weights_digest(model), self.seeds, *settings, limit, **vars(self.options))
        results = SuiteResults(out, evaluation)
        devices = jax.local_devices()
        part = part_of(sets, self.process, self.processes)
        groups = groups_by_size(part, self.together or max(1, -(-len(devices) // self.seeds)))
        with _SuiteBar(len(part) * len(self.methods)) as bar:
            SuiteRun(model, evaluation, results, devices, bar, self.keep_models, name).run(groups, self.methods)
        finished, failures = results.read(), results.failures()
        done = {f"{method}/{result.name}" for method, of_method in finished.items() for result in of_method}
        missing = len({f"{method}/{data.name}" for method in self.methods for data in sets} - done - failures.keys())
        if failures and not done and not missing:
            raise InputError(f"No set of {self.data} could be evaluated: {next(iter(failures.values()))}")
        if finished:
            rows, preset = f"at most {limit:,}" if limit else "all", vars(FINETUNE_PRESETS[self.preset])
            changed = [f"{key} {value}" for key, value in vars(self.settings).items() if value != preset[key]]
            about = f"{self.suite}: {self.data}. Model: {name}. Seeds: {self.seeds}. Training rows: {rows}."
            about = f"{about} Settings: preset {', '.join([self.preset, *changed])}."
            text, names = report(finished, failures, SUITES[self.suite], out, ours=self.methods[0], about=about)
            print(text)
        print(f"Results: {len(done)}, failures: {len(failures)}{f', still to come: {missing}' if missing else ''}.")
        if finished:
            print(f"Written to {out}: {', '.join(names)}, and a file for each result.")
        if missing:
            print("Next: the same command again, of each process, which adds what is missing.")
        elif failures:
            print("Next: mend or remove the sets without a result, then the same command again.")
        return {method: finished[method] for method in self.methods if method in finished}

    def _check(self) -> None:
        require_in(self, 1, math.inf, "seeds", "processes")
        require_in(self, 0, math.inf, "limit", "together")
        require_in(self, 0, self.processes, "process")
        for rows in self.learning_curve:
            if not (rows == "all" or (WHOLE.fullmatch(rows) and int(rows) > 0)):
                raise InputError(f"learning_curve has {rows!r}: give numbers of training rows above 0, or all.")
        single_limit = not (self.learning_curve and self.limit)
        require(single_limit, "--limit and --learning-curve both say how many training rows: leave one out.")
        for name, values in (("methods", self.methods), ("learning_curve", self.learning_curve)):
            require(len({*values}) == len(values), f"{name} has something twice: {' '.join(values)}.")
        require(len(self.methods) > 0, "methods names none: give at least one.")
        named_apart = len({_table_name(path) for path in self.compare}) == len(self.compare)
        require(named_apart, "Two tables of --compare have one name, with that of their directory: rename one.")
        if not is_url(self.out):
            out = Path(self.out).resolve()
            require(not out.is_file(), f"{self.out} is a file: choose a directory.")
            apart = not out.is_relative_to(self.data.resolve())
            require(apart, f"{self.out} is within {self.data}, where its tables would be taken for data sets.")


def _table_name(path: Path) -> str:
    """Returns it with that of its directory, as the tables of any evaluation are called like ours."""
    return f"{path.resolve().parent.name}/{path.stem}"


def _peak_index(path: Path) -> dict[str, PeakFile]:
    """Returns what UCSC's index says of the suite's peak files; nothing, and says so, if it is an index of others."""
    try:
        return read_peak_index(path) if path.is_file() else {}
    except InputError as error:
        print(f"Tables will not have cell, factor and treatment: {error}")
        return {}


def _one_device_a_processor() -> None:
    """Has JAX see each processor as a device, unless told otherwise: a small model does not fill several at once."""
    flag, flags = "--xla_force_host_platform_device_count", os.environ.get("XLA_FLAGS", "")
    if flag not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {flag}={len(os.sched_getaffinity(0))}".strip()


class _SuiteBar(BarContext, FittingObserver):
    """A progress bar over results; a context manager."""

    def __init__(self, total: int) -> None:
        self._bar = progress_bar("evaluate", "result", total)
        self._what, self._done, self._shown = "", 0, 0.0

    def stepped(self, done: int, total: int) -> None:
        self.advanced("step", done, total)

    def advanced(self, what: str, done: int, total: int) -> None:
        """Shows a part of what a result needs."""
        self._done = done + (self._done % total if what == self._what else 0)
        self._what = what
        self._bar.set_postfix_str(f"{what} {self._done:,} of {total:,}", refresh=False)
        # A result takes long: the bar is shown anew as often as others are.
        if time.monotonic() - self._shown > self._bar.mininterval:
            self._shown = time.monotonic()
            self._bar.refresh()

    def restarted(self, job: str, seed: int) -> None:
        """Writes a line."""
        self._what = ""
        self._bar.write(f"{job} collapsed to one class: it begins anew with the seed {seed}.")

    def ended(self, failure: str = "") -> None:
        """Counts a result; writes a line if there is none."""
        if failure:
            self._bar.write(failure)
        self._bar.update()


def parse_evaluate(arguments: Sequence[str]) -> Evaluate:
    """Reads the suite and the flags, those of the settings among them."""
    if list(arguments) in (["-h"], ["--help"]):
        arguments = ["tfbs690", *arguments]  # of all suites alike, but for the preset
    suite = arguments[0] if arguments else ""
    named = f"Name a suite: dnabert-jax evaluate {'|'.join(SUITES)}; --help behind it tells the flags."
    require(suite in SUITES, named)
    return parse_from_preset(Evaluate, f"evaluate {suite}", arguments[1:], FINETUNE_PRESETS, suite=suite)

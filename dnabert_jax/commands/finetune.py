"""`dnabert-jax finetune`."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tqdm import tqdm

from dnabert_jax.commands.console import Bars, command
from dnabert_jax.commands.flags import InputPath, parse_from_preset
from dnabert_jax.commands.signals import stop_signals
from dnabert_jax.config import require_in
from dnabert_jax.errors import InputError
from dnabert_jax.extras import require_extra
from dnabert_jax.outputs import refuse_existing
from dnabert_jax.tasks.datasets.layout import DataOptions, set_name
from dnabert_jax.tasks.finetuning.config import FINETUNE_PRESETS, FinetuneConfig, FittingObserver

if TYPE_CHECKING:  # they load JAX, which --help need not wait for
    from dnabert_jax.sequence.tokenizer import Tokenizer
    from dnabert_jax.tasks.datasets.labelled import LabelledData
    from dnabert_jax.tasks.finetuning.finetune import Finetuned

_LABELS_SHOWN, _FIGURES_SHOWN, _CLASSES_SHOWN = 8, 8, 6


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Fine-tune a model on labelled DNA, and measure it on sequences it has not seen.

    Example: dnabert-jax finetune --model models/dnabert6 --data promoters/ --out runs/promoters --seeds 3

    Sequences that are longer than the model takes are read in windows: add --long attention.

    Attributes:
        model: Run directory, model directory, Hugging Face directory, or OWNER/NAME on its hub.
        data: A table (CSV, TSV, Parquet, .data, .seq; plain or gzip), a directory with train, dev and test files in one
            of the usual layouts, or what `dnabert-jax prepare promoters`, `splice` or `tfbs` made.
        out: Directory to make: the model of the best seed, result.json, result.md, log.jsonl and pictures. Until it is
            complete, OUT.unfinished has what --resume needs.
        resume: Go on with what an earlier run of the same command has saved in OUT.unfinished; begin if there is
            nothing.
        seeds: How many models are trained, each with its own seed, in lockstep.
        preset: default; dnabert, as in its README; or gue, as in GUE's scripts.
        sequence: Column of the sequences; found by its name if not given.
        labels: Columns of the labels; found by their names if not given.
        split: Column of the split; found by its name if not given.
        step: Checkpoint of the run to begin with; the latest if not given.
        random_weights: Begin with random weights instead, to see what pre-training gives.
        options: How the data set is read.
        settings: Whatever of the preset is to be otherwise.
    """

    model: str
    data: InputPath
    out: Path
    resume: bool = False
    seeds: int = 1
    preset: str = "default"
    sequence: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""
    step: int | None = None
    random_weights: bool = False
    arguments: tyro.conf.Suppress[tuple[str, ...]] = ()
    options: Annotated[DataOptions, tyro.conf.arg(name="")] = dataclasses.field(default_factory=DataOptions)
    settings: Annotated[FinetuneConfig, tyro.conf.arg(name="")] = FINETUNE_PRESETS["default"]

    def run(self) -> None:
        """Trains, measures, writes, and says what came of it."""
        require_in(self, 1, math.inf, "seeds")
        refuse_existing(self.out)
        require_extra("finetune", "Fine-tuning", "matplotlib", "sklearn")
        with stop_signals() as received:
            self._run(received)

    def _run(self, received: Sequence[int]) -> None:
        import jax

        from dnabert_jax.interop.load import read_model
        from dnabert_jax.tasks.finetuning.checkpoint import (
            FittingCheckpoint,
            StoppedError,
            check_unfinished,
            named_model,
            starting_point,
        )
        from dnabert_jax.tasks.finetuning.finetune import finetune_sets, from_scratch, write_finetuned
        from dnabert_jax.tasks.measures.metrics import validation_metric

        check_unfinished(self.out, self.resume)
        model = read_model(self.model, self.step)
        if self.random_weights:
            model = from_scratch(model, self.settings)
        data = self._read_data(model.config.tokenizer)
        metric = validation_metric(data.task, self.settings.select_by)
        start = starting_point(self.model, model, data, self.settings, self.seeds)
        base, name = named_model(self.model, model), set_name(self.data)
        with FittingCheckpoint(self.out, start, metric, lambda: bool(received)) as checkpoint:
            if self.resume:
                steps = checkpoint.saved_steps
                print(f"Resumed at step {steps:,}." if steps else f"{checkpoint.directory} has nothing yet: it begins.")
            try:
                with FittingBar(metric) as bar:
                    sets, devices = {name: data}, jax.devices()
                    done = finetune_sets(model, sets, self.settings, self.seeds, devices, bar, checkpoint, base)[name]
            except StoppedError:
                resume = () if self.resume else ("--resume",)
                print(f"Stopped by SIGTERM after step {checkpoint.saved_steps:,}, which is saved.")
                print(f"Go on with: {command('finetune', *self.arguments, *resume)}")
                return
            write_finetuned(self.out, done, model, data, self.settings, checkpoint)
        self._report(done)

    def _read_data(self, tokenizer: "Tokenizer") -> "LabelledData":
        from dnabert_jax.tasks.datasets.labelled import Columns
        from dnabert_jax.tasks.datasets.splits import count_duplicates, drop_duplicates, read_splits
        from dnabert_jax.tasks.finetuning.encoding import task_to_learn

        columns = Columns(self.sequence, self.labels, self.split)
        data = read_splits(self.data, tokenizer, self.options, self.settings.seed, columns)
        if (positive := self.options.positive) and data.task.positive != positive:
            labels = ", ".join(data.task.labels)
            raise InputError(f"--positive {positive!r} is not one of two classes: the labels are {labels}.")
        count, shown = len(data.task.labels), ", ".join(map(repr, data.task.labels[:_LABELS_SHOWN]))
        more = f" and {count - _LABELS_SHOWN:,} more" if count > _LABELS_SHOWN else ""
        what = data.task.kind.in_words.format(count)
        print(f"{what}: {shown}{more}. To read the labels otherwise, give --problem.")
        if self.settings.strands == "auto":
            print(
                "Sequences are read on both strands. If the label depends on the strand, give --strands forward."
                if task_to_learn(data, self.settings).strands == "both"
                else "Training sequences differ from their reverse complements, as splice sites do: they are read as "
                "they are. --strands both reads both strands."
            )
        data = count_duplicates(data)
        for note in data.notes:
            print(note)
        distinct = data if self.options.keep_duplicates else drop_duplicates(data)
        if dropped := len(data.splits["train"]) - len(distinct.splits["train"]):
            print(f"Dropped {dropped:,} duplicates from the training split.")
        return distinct

    def _report(self, done: "Finetuned") -> None:
        from dnabert_jax.tasks.measures.results import is_at_chance, over_seeds

        result, best = done.result, done.result.seeds[done.result.best]
        of_class = f"; precision, recall and F1 are those of the positive class {result.task.positive!r}"
        print(f"Test split{of_class if result.task.positive else ''}:")
        for key, figure in list(over_seeds(result).items())[:_FIGURES_SHOWN]:
            spread = "" if figure.deviation is None else f" +- {figure.deviation:.4f}"
            if figure.mean is not None:
                print(f"{key}: {figure.mean:.4f}{spread}")
        confusion = best.metrics.confusion
        if len(confusion) == 1 and len(classes := confusion[0].classes) <= _CLASSES_SHOWN:
            seed = f"Seed {best.seed}, the best: of" if len(result.seeds) > 1 else "Of"
            for name, row in zip(classes, confusion[0].counts, strict=True):
                counts = ", ".join(f"{count:,} as {chosen!r}" for chosen, count in zip(classes, row, strict=True))
                print(f"{seed} {sum(row):,} {name!r}, predicted: {counts}.")
        for job in done.fitted:
            if job.collapsed > self.settings.restarts:
                print(f"{job.name} collapsed to one class in every attempt ({job.collapsed}): its figures mean little.")
        if is_at_chance(result) and self.settings.train != "probe":
            print(
                f"The model of seed {best.seed} is not clearly better than guessing. Check that "
                "the labels belong to the sequences, and try --start probe, more --epochs, another learning rate "
                "or more training rows. --train probe shows in seconds what the frozen model knows."
            )
        names = sorted(path.name + "/" * path.is_dir() for path in self.out.iterdir())
        print(f"Written to {self.out}: {', '.join(names)}.")
        print(f"Next: {command('predict', '--model', self.out, '--fasta', 'FILE', '--out', 'predictions.tsv')}")
        if result.task.windows is None:  # transformers has no class that others could be exported to
            print(f"Next: {command('export', self.out, '--out', 'DIRECTORY')}")


class FittingBar(Bars, FittingObserver):
    """A progress bar of fine-tuning, and a line for each job and epoch; a context manager."""

    def __init__(self, metric: str) -> None:
        from dnabert_jax.tasks.measures.metrics import better

        sequences = dict.fromkeys(("embed", "predict the test split"), " sequences")
        super().__init__({"finetune": "step", "compute intervals": " resamples"} | sequences)
        self._metric, self._sign = metric, 1 if better(metric) == "higher" else -1
        self.advanced("finetune", 0, None)

    def stepped(self, done: int, total: int) -> None:
        """Shows that steps of lockstep were done."""
        self.advanced("finetune", done, total)
        self._bar.total = total

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """Writes a line."""
        value = f"{self._sign * figure:.4f}" if math.isfinite(figure) else "undefined"
        what = f"epoch {epoch}: {job}, loss {loss:.4f}" if epoch else f"start: {job}"
        tqdm.write(f"{what}, validation {self._metric} {value}")

    def restarted(self, job: str, seed: int) -> None:
        """Writes a line."""
        self._bar.reset()
        self._bar.write(f"{job} collapsed to one class: it begins anew with the seed {seed}.")


def parse_finetune(arguments: Sequence[str]) -> Finetune:
    """Reads the flags, those of the settings among them."""
    return parse_from_preset(Finetune, "finetune", arguments, FINETUNE_PRESETS, arguments=tuple(arguments))

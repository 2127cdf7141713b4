"""`dnabert-jax finetune`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from dnabert_jax.errors import InputError
from dnabert_jax.tasks.finetune_config import FINETUNE_PRESETS, FinetuneConfig
from launch.flags import REGISTRY, SETTINGS
from launch.progress import progress_bar
from launch.signals import importing

_DEFAULT = "dnabert"


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Fine-tune a model on labelled DNA, and measure it on sequences it has not seen.

    Example: dnabert-jax finetune --model models/dnabert6 --data promoters/ --out runs/promoters --seeds 3

    Attributes:
        model: Run directory, model directory of `dnabert-jax import`, or Hugging Face directory.
        data: A table (CSV, TSV, Parquet; plain or gzip) with a split column, or a directory with train, dev and test
            files.
        out: Directory to make: the model of the best seed, result.json, result.md and curves.
        seeds: How many models are trained, each with its own seed, in lockstep.
        preset: dnabert, as in its README, or gue, as in GUE's scripts.
        sequence: Column of the sequences; found by its name if not given.
        labels: Columns of the labels; found by their names if not given.
        split: Column of the split; found by its name if not given.
        problem: What the labels are; inferred if not given.
        dev: What a dev split is where there is no test split: the validation split, or the test split as in the
            original's data.
        validation_share: Of the training split, to choose the best epoch by, where there is no validation split.
        keep_duplicates: Keep sequences of the training split that are in validation or test too.
        steps: Checkpoint of the run to begin with; the latest if not given.
        random_weights: Begin with random weights instead, to see what pre-training gives.
        settings: Whatever of the preset is to be otherwise.
    """

    model: str
    data: Path
    out: Path
    seeds: int = 1
    preset: str = _DEFAULT
    sequence: str = ""
    labels: tuple[str, ...] = ()
    split: str = ""
    problem: Literal["single_label_classification", "multi_label_classification", "regression"] | None = None
    dev: Literal["validation", "test"] = "validation"
    validation_share: float = 0.1
    keep_duplicates: bool = False
    step: int | None = None
    random_weights: bool = False
    settings: Annotated[FinetuneConfig, tyro.conf.arg(name="")] = FINETUNE_PRESETS[_DEFAULT]

    def run(self) -> None:
        """Trains, measures, writes, and says what came of it."""
        if self.seeds < 1:
            raise InputError(f"seeds is {self.seeds}: give at least 1.")
        if self.out.exists():
            raise InputError(f"{self.out} exists already: choose another --out, or remove it first.")
        with importing():
            import jax

            from dnabert_jax.interop.load import read_model
            from dnabert_jax.tasks.finetune import finetune, write_finetuned
            from dnabert_jax.tasks.labelled import Columns, read_labelled
            from dnabert_jax.tasks.results import over_seeds
            from dnabert_jax.tasks.splits import carve_validation, count_duplicates, drop_duplicates
            from dnabert_jax.training.saved_model import with_random_weights

        model = read_model(self.model, self.step)
        if self.random_weights:
            model = with_random_weights(model, self.settings.seed)
        columns = Columns(self.sequence, self.labels, self.split)
        data = read_labelled(
            self.data, model.config.k, columns, problem=self.problem, dev=self.dev, required=("train", "test")
        )
        if "validation" not in data.splits:
            data = carve_validation(data, self.validation_share, self.settings.seed)
        for note in (*data.notes, *count_duplicates(data).sentences()):
            print(note)
        if not self.keep_duplicates:
            before = len(data.splits["train"])
            data = drop_duplicates(data)
            print(f"Dropped {before - len(data.splits['train']):,} duplicates from the training split.")
        name = self.data.name.split(".")[0]
        with FittingBar() as bar:
            done = finetune(model, data, self.settings, name, self.seeds, jax.devices(), bar)
        write_finetuned(self.out, done, model, data, self.settings)
        for key, figure in list(over_seeds(done.result).items())[:6]:
            if figure.mean is not None:
                spread = "" if figure.deviation is None else f" +- {figure.deviation:.4f}"
                print(f"{key}: {figure.mean:.4f}{spread}")
        collapsed = [one for one in done.fitted if one.collapsed > self.settings.restarts]
        for one in collapsed:
            print(f"{one.name} collapsed to one class {one.collapsed} times: its figures mean little.")
        print(f"Written to {self.out}: the model, result.md, result.json, curves.")
        print(f"Next: dnabert-jax predict --model {self.out} --fasta FILE --out predictions.tsv")
        print(f"Next: dnabert-jax export {self.out} --to DIRECTORY")


class FittingBar:
    """A progress bar of fine-tuning; a context manager."""

    def __init__(self) -> None:
        self._bar = progress_bar("finetune", "step")

    def __enter__(self) -> "FittingBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def stepped(self, done: int, total: int) -> None:
        """Some more steps of lockstep."""
        self._bar.total = total
        self._bar.update(done)

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """The last epoch's figures stand beside the bar."""
        self._bar.set_postfix_str(f"{job}, epoch {epoch}: loss {loss:.3f}, validation {figure:.3f}")

    def restarted(self, job: str, seed: int) -> None:
        """Said in a line of its own."""
        self._bar.reset()
        self._bar.write(f"{job} collapsed to one class: it begins anew with the seed {seed}.")


@dataclasses.dataclass(frozen=True)
class _Preset:
    """The flag that says which settings the others override."""

    preset: str = _DEFAULT


def parse_finetune(arguments: Sequence[str]) -> Finetune:
    """Parses in two passes: the first finds the preset whose fields are the defaults of the second.

    Raises:
        InputError: there is no such preset.
    """
    scanned = [argument for argument in arguments if argument not in ("-h", "--help")]
    program = "dnabert-jax finetune"
    start, _ = tyro.cli(_Preset, args=scanned, return_unknown_args=True, prog=program, config=SETTINGS)
    if start.preset not in FINETUNE_PRESETS:
        raise InputError(f"There is no preset {start.preset!r}: choose one of {', '.join(FINETUNE_PRESETS)}.")
    missing: Any = tyro.MISSING
    default = Finetune(missing, missing, missing, settings=FINETUNE_PRESETS[start.preset])
    return tyro.cli(Finetune, args=list(arguments), default=default, prog=program, config=SETTINGS, registry=REGISTRY)

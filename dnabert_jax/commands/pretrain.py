"""`dnabert-jax pretrain`: a preset or a saved configuration, any field of it overridden on the command line."""

import dataclasses
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tqdm import tqdm

from dnabert_jax.commands.console import BarContext, command, progress_bar
from dnabert_jax.commands.distributed import check_flags, join
from dnabert_jax.commands.flags import parse_from_preset
from dnabert_jax.commands.signals import EXIT_INTERRUPTED, handling, stop_signals
from dnabert_jax.config import PretrainConfig, require
from dnabert_jax.data.rows import stage
from dnabert_jax.errors import InputError
from dnabert_jax.families import PRESETS, PresetName
from dnabert_jax.storage import Location, is_url

if TYPE_CHECKING:  # training loads JAX, which --help need not wait for
    from dnabert_jax.training.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Pretrain:
    """Pre-train a DNABERT on prepared rows, on all devices that JAX sees.

    Example: dnabert-jax pretrain --preset dnabert6 --data data/hg38-k6 --out runs/hg38-k6

    Every field of the configuration is a flag; the values shown are those of --preset or --config (of dnabert6 if
    neither is given).

    Attributes:
        data: Directory made by `dnabert-jax prepare`, local or the URL of one (gs://bucket/hg38-k6), or a TFDS data set
            of such rows in array_record files.
        out: Run directory: checkpoints, logs, configuration.
        preset: Model and recipe to start from: tiny for a 2-core machine, dnabert3 to dnabert6 for the paper's.
        config: config.json of an earlier run to start from, instead of a preset.
        resume: Go on with the run in --out from its latest checkpoint (with its configuration, if neither --preset
            nor --config is given); start it if there is none yet.
        data_cache: Local directory for copies of data from stores, which later runs find there.
        profile_from: Trace --profile-steps steps from this one on with JAX's profiler, in the first process. At any
            time, kill -USR1 PID traces the next steps of the process PID.
        profile_steps: Steps of a trace.
        distributed: Join the other processes of a job first (jax.distributed); without it this process trains alone.
            On TPU pods, GKE and Slurm they find one another.
        coordinator: HOST:PORT of process 0, where they meet, if they cannot find one another.
        processes: How many they are, if they cannot find one another.
        process: Which of them this is, from 0, if they cannot find one another.
        join_timeout: Seconds to wait for the others.
        settings: The configuration.
    """

    data: Location
    out: Path
    settings: Annotated[PretrainConfig, tyro.conf.arg(name="")]
    preset: PresetName | None = None
    config: Path | None = None
    resume: bool = False
    data_cache: Path = Path("~/.cache/dnabert-jax/data")
    profile_from: int | None = None
    profile_steps: int = 5
    distributed: bool = False
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None
    join_timeout: int = 300
    arguments: tyro.conf.Suppress[tuple[str, ...]] = ()

    def run(self) -> None:
        """Trains and says how it ended."""
        if self.profile_from is not None and not 1 <= self.profile_from <= self.settings.steps:
            raise InputError(f"--profile-from is {self.profile_from}: give a step from 1 to {self.settings.steps}.")
        require(self.profile_steps >= 1, f"--profile-steps is {self.profile_steps}: give at least 1.")
        check_flags(self.distributed, self.coordinator, self.processes, self.process, self.join_timeout)
        training_bar = TrainingBar(self.profile_from)
        # Connected processes stop together, so that none ends alone.
        with stop_signals(lambda: training_bar.has_stepped or training_bar.stops_with_others) as received:
            self._run(training_bar, received)

    def _run(self, training_bar: "TrainingBar", received: Sequence[int]) -> None:
        if self.distributed:
            join(self.coordinator, self.processes, self.process, self.join_timeout)
        import jax

        from dnabert_jax.telemetry.speed import Profiler
        from dnabert_jax.training.loop import pretrain

        profiler = Profiler(self.out, self.profile_steps, self.profile_from, self._report_profile)
        first = jax.process_index() == 0
        with handling(signal.SIGUSR1, lambda *_: profiler.request()):
            with progress_bar("download", "B", unit_scale=True, disable=not (first and is_url(self.data))) as bar:
                data = stage(self.data, self.data_cache.expanduser(), bar.update)
            training_bar.stops_with_others = self.distributed
            with training_bar:
                result = pretrain(
                    self.settings, data, self.out, [training_bar], self.resume,
                    profiler=profiler, stop_requested=lambda: bool(received),
                )  # fmt: skip
        stopped, interrupted = result.step < self.settings.steps, signal.SIGINT in received
        if first and stopped:
            signal_name = "Ctrl-C" if interrupted else "SIGTERM"
            print(f"Stopped by {signal_name} after step {result.step:,} of {self.settings.steps:,}, which is saved.")
            others = " (on each process with its own --process)" if self.coordinator is not None else ""
            resume = () if self.resume else ("--resume",)
            print(f"Go on with{others}: {command('pretrain', *self.arguments, *resume)}")
        if stopped and interrupted:
            sys.exit(EXIT_INTERRUPTED)
        if stopped or not first:
            return
        print(f"Step {result.step:,} of {self.settings.steps:,}.", end=" ")
        if figures := result.evaluation:
            print(
                f"Held out, per masked token: loss {figures.loss:.4f} nats, accuracy {figures.accuracy:.4f}; "
                f"per hidden base: loss {figures.hidden_base_loss:.4f} nats, "
                f"accuracy {figures.hidden_base_accuracy:.4f}."
            )
        else:
            print("No held-out evaluation: the data have no held-out part.")
        print(f"Run in {self.out}: checkpoints, log.jsonl, tensorboard (tensorboard --logdir {self._events()}).")
        print(f"Next: {command('export', self.out, '--out', 'MODEL')}")

    def _events(self) -> str:
        """Returns the directory of TensorBoard's events, quoted for a shell."""
        return shlex.quote(str(self.out / "tensorboard"))

    def _report_profile(self, place: Path, error: RuntimeError | None) -> None:
        if error:
            tqdm.write(f"No profile in {place}: {error}. Training goes on, without further profiles.")
        else:
            look = f"pip install xprof; xprof --logdir {self._events()}; or open its *.trace.json.gz at"
            tqdm.write(f"Profile in {place}. Look at it: {look} https://ui.perfetto.dev")


def parse_pretrain(arguments: Sequence[str]) -> Pretrain:
    """Reads the flags, those of the configuration among them."""
    return parse_from_preset(Pretrain, "pretrain", arguments, PRESETS, arguments=tuple(arguments))


class TrainingBar(BarContext):
    """An observer of training that draws a progress bar; a context manager."""

    def __init__(self, profile_from: int | None = None) -> None:
        self._profile_from = profile_from
        self._bar = tqdm(disable=True)
        self.has_stepped = self.stops_with_others = False

    def checked(self, done: int, total: int) -> None:
        if not self._bar.total:
            self._bar = progress_bar("check data", "B", total, unit_scale=True)
        self._bar.update(done)
        if self._bar.n >= total:
            self._bar.close()  # at 100 %, not when the first step is compiled

    def started(self, step: int, steps: int, heldout: bool) -> None:
        self._bar.close()
        if step == steps:
            tqdm.write(f"the run is finished: all its {steps:,} steps are made; a larger --steps would go on")
        elif step:
            tqdm.write(f"resumed at step {step:,}")
        if self._profile_from is not None and self._profile_from <= step:
            tqdm.write(f"no profile from step {self._profile_from:,} on, as --profile-from asks: it is past")
        if not heldout:
            tqdm.write("no held-out part in the data: nothing will be evaluated")
        self._bar = progress_bar("pretrain", "step", total=steps, initial=step)

    def stepped(self, step: int) -> None:
        self.has_stepped = True
        self._bar.update(step - self._bar.n)

    def trained(self, step: int, figures: dict[str, float]) -> None:
        loss, accuracy, rate = (figures[name] for name in ("loss", "accuracy", "tokens_per_second"))
        mfu = f", MFU {figures['mfu']:.1%}" if "mfu" in figures else ""
        text = f"loss {loss:.3f}, accuracy {accuracy:.3f}, {rate:,.0f} tokens/s{mfu}"
        self._bar.set_postfix_str(text, refresh=False)

    def evaluated(self, step: int, evaluation: "Evaluation") -> None:
        tqdm.write(
            f"step {step:>7,}: held-out loss {evaluation.loss:.4f} (perplexity {math.exp(evaluation.loss):.2f}), "
            f"accuracy {evaluation.accuracy:.4f}, hidden base {evaluation.hidden_base_accuracy:.4f} "
            f"({evaluation.hidden_base_loss:.4f} nats)"
        )

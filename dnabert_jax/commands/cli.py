"""Runs the command `dnabert-jax`: errors that the user can mend are one sentence and exit status 2."""

import atexit
import dataclasses
import difflib
import errno
import inspect
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import dnabert_jax
from dnabert_jax.commands.attention import Attention
from dnabert_jax.commands.console import command, print_error
from dnabert_jax.commands.demo import Demo
from dnabert_jax.commands.distributed import leave
from dnabert_jax.commands.evaluate import parse_evaluate
from dnabert_jax.commands.finetune import parse_finetune
from dnabert_jax.commands.flags import INPUT_COPIES, parse
from dnabert_jax.commands.huggingface import Export, Import
from dnabert_jax.commands.motifs import Motifs
from dnabert_jax.commands.mutations import Mutations
from dnabert_jax.commands.plan import parse_plan
from dnabert_jax.commands.predict import Embed, Predict
from dnabert_jax.commands.prepare import (
    PrepareGenome,
    PreparePromoters,
    PrepareSplice,
    PrepareTfbs,
    PrepareVerify,
    parse_genome_beam,
)
from dnabert_jax.commands.pretrain import parse_pretrain
from dnabert_jax.commands.report import Report
from dnabert_jax.commands.signals import EXIT_FAILED, EXIT_SIGNALLED, end_interrupted, exit_status, signals_as_exception
from dnabert_jax.commands.variants import Variants
from dnabert_jax.errors import InputError, JobError, device_memory_errors, first_line, is_out_of_room
from dnabert_jax.extras import install_command
from dnabert_jax.interop.hub import check_model
from dnabert_jax.numerics import SETTINGS

_COMMANDS: dict[str, tuple[Any, str]] = {
    "demo": (Demo, "run the whole pipeline on a sample of human DNA, in a few minutes on two CPU cores"),
    "prepare genome": (PrepareGenome, "FASTA files -> packed rows of tokens for pre-training, in TFRecord shards"),
    "prepare genome-beam": (parse_genome_beam, "the same as an Apache Beam pipeline, on many machines"),
    "prepare verify": (PrepareVerify, "check every file of a data directory against its manifest"),
    "prepare promoters": (PreparePromoters, "genome and GTF -> promoters and other sequences, split for fine-tuning"),
    "prepare splice": (PrepareSplice, "genome and GTF -> splice donors, acceptors and neither, split for fine-tuning"),
    "prepare tfbs": (
        PrepareTfbs, "genome and narrowPeak -> windows at peaks and in the background; a folder of peaks -> a suite",
    ),
    "pretrain": (parse_pretrain, "rows -> a masked language model, with checkpoints and logs"),
    "plan": (parse_plan, "estimate memory, time and cost on a TPU or GPU topology; --suite estimates fine-tuning"),
    "import": (Import, "published weights of the Hugging Face hub, or a directory -> a checkpoint"),
    "finetune": (
        parse_finetune, "model and labelled DNA -> a classifier or a regression, measured on a test split",
    ),
    "evaluate": (
        parse_evaluate, "fine-tune a model on the sets of a suite (tfbs690, gue, mouse, suite), beside baselines",
    ),
    "predict": (Predict, "FASTA, table, or BED and genome -> predictions of a fine-tuned model, as a table"),
    "embed": (Embed, "the same inputs -> embeddings of sequences, tokens or bases, as npz or Parquet"),
    "attention": (Attention, "the same inputs -> a score for each base from attention, gradients or mutagenesis"),
    "mutations": (Mutations, "in-silico mutagenesis: the effect of substitutions and deletions; heat maps"),
    "motifs": (Motifs, "scores of bases -> enriched motifs: MEME, table, BED, logos"),
    "variants": (Variants, "VCF and genome -> the effect of each variant, as VCF and table"),
    "report": (Report, "outputs of these commands -> one HTML page that opens offline"),
    "export": (Export, "checkpoint -> a directory for Hugging Face transformers"),
}  # fmt: skip
"""For each command, the dataclass of its flags or the function that parses them, and what the command does."""

_USAGE = f"""\
dnabert-jax {dnabert_jax.__version__}: pre-train, fine-tune and interpret DNA language models with JAX.

usage: dnabert-jax COMMAND [flags]        dnabert-jax COMMAND --help lists the flags and shows an example

{"".join(f"  {name:<21}{what}{chr(10)}" for name, (_, what) in _COMMANDS.items())}
example: dnabert-jax demo
"""

_EXIT_BAD_INPUT, _EXIT_BROKEN_PIPE = 2, 128 + signal.SIGPIPE

_BAD_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip
"""Errors that a user mends by giving another path; others, such as a failing disk, may go by themselves."""

_TRUE = ("1", "on", "t", "true", "y", "yes")


def main() -> None:
    """The console command."""
    signal.signal(signal.SIGINT, end_interrupted)
    # What Python does last of all is not interrupted: the signal would kill it there, with nothing said.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    # It may come before or after what it asks for, a profile, is possible.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # UTF-8 whatever the locale. By lines, so that what is printed and the progress bar keep their order in a log file.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    _set_environment()
    _silence_libraries()
    status = EXIT_FAILED
    try:
        status = run(sys.argv[1:])
        if status in EXIT_SIGNALLED:
            sys.stderr.flush()
            # The libraries' threads may be anywhere: taking the interpreter down around them can crash.
            os._exit(status)
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        sys.stderr.flush()
        leave(status)
    sys.exit(status)


def _set_environment() -> None:
    """Makes JAX compute with dnabert_jax.numerics.SETTINGS, whatever the environment says; before JAX is loaded."""
    for name, value in SETTINGS.items():
        variable, before = name.upper(), os.environ.get(name.upper())
        os.environ[variable] = str(int(value) if isinstance(value, bool) else value)
        if before is not None and str(value) != (str(before.lower() in _TRUE) if isinstance(value, bool) else before):
            print(
                f"dnabert-jax: note: {variable}={before} is ignored, as results depend on it: it is "
                f"{os.environ[variable]} here.",
                file=sys.stderr,
            )


def _silence_libraries() -> None:
    """Silences what libraries add, in threads and logs, to the one sentence that `run` prints for an error."""
    for name in ("absl", "asyncio", "concurrent.futures", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Warnings of this package are whole sentences, whatever handler a library has installed.
    logging.getLogger("dnabert_jax").addHandler(logging.StreamHandler())
    logging.getLogger("dnabert_jax").propagate = False
    # orbax leaves a read that failed while other parts of it are under way.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)

    def is_said_elsewhere(error: BaseException | None) -> bool:
        # TensorBoard's writer meets a full disk in a thread and at exit; the checkpoint or the log says so.
        return str(error) == "Event loop is closed" or (isinstance(error, Exception) and is_out_of_room(error))

    def report(unraisable: "sys.UnraisableHookArgs") -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):  # which came in a finaliser
            end_interrupted()
        if not is_said_elsewhere(unraisable.exc_value) and not inspect.iscoroutine(unraisable.object):
            sys.__unraisablehook__(unraisable)

    def report_in_thread(raised: threading.ExceptHookArgs) -> None:
        if not is_said_elsewhere(raised.exc_value):
            threading.__excepthook__(raised)

    sys.unraisablehook = report
    threading.excepthook = report_in_thread


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status.

    It is 0, 1 (failed), 2 (bad input), 130 (interrupted), 141 (unread) or 143 (SIGTERM).
    """
    try:
        if {*arguments} <= {"prepare", "-h", "--help"}:
            print(_USAGE, end="")
            return 0 if {"-h", "--help"} & {*arguments} else _EXIT_BAD_INPUT
        if arguments[0] == "--version":
            print(dnabert_jax.__version__)
            return 0
        advice = "use a smaller batch, a larger mesh, or shorter sequences"
        with INPUT_COPIES, signals_as_exception(), device_memory_errors(advice):
            job = _parse(arguments)
            _check_lists(job, [argument.partition("=")[0].replace("_", "-") for argument in arguments])
            if isinstance(model := getattr(job, "model", None), str):
                check_model(model)
            job.run()
    except BrokenPipeError:
        # The reader has read what it wanted, as head does; nothing more can be said there, not at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        resumable = arguments[0] in ("pretrain", "finetune")
        hint = " The same command with --resume goes on from the last checkpoint, if there is one." if resumable else ""
        print(f"Interrupted.{hint}", file=sys.stderr)
        return exit_status()
    # The last three are of JAX and of libraries below it.
    except (InputError, JobError, OSError, RuntimeError, ValueError, AssertionError) as error:
        sentence, status = _failure(error)
        if not sentence:
            raise
        print_error(sentence)
        return status
    return 0


def _parse(arguments: Sequence[str]) -> Any:
    words = 2 if arguments[0] == "prepare" else 1
    name = " ".join(arguments[:words])
    if name not in _COMMANDS:
        # "verify" is meant for "prepare verify".
        names = {known.split()[-1]: known for known in _COMMANDS} | {known: known for known in _COMMANDS}
        close = dict.fromkeys(names[match] for match in difflib.get_close_matches(name, names))
        meant = f" Did you mean {' or '.join(close)}?" if close else ""
        raise InputError(f"There is no command {name!r}.{meant} {command('--help')} lists them.")
    job = _COMMANDS[name][0]
    return parse(job, name, arguments[words:]) if isinstance(job, type) else job(arguments[words:])


def _check_lists(value: object, flags: Sequence[str], flag: str = "") -> None:
    """Raises InputError if a flag that takes a list is given twice: the parser would keep only the last list."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_lists(getattr(value, field.name), flags, f"--{field.name.replace('_', '-')}")
    elif isinstance(value, tuple) and flags.count(flag) > 1:
        raise InputError(f"{flag} is given twice. Give all its values after one {flag}.")


def _failure(error: Exception) -> tuple[str, int]:
    """Returns what to print for an error, nothing if it is to show where it came from, and the exit status."""
    if isinstance(error, InputError):
        return str(error), _EXIT_BAD_INPUT
    if isinstance(error, JobError):
        return str(error), EXIT_FAILED
    reason, path = str(error) and first_line(error), getattr(error, "filename", None)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
    if is_out_of_room(error) and path:
        other = "set TMPDIR to another directory" if path == tempfile.gettempdir() else "choose another output"
        return f"{path}: {reason}. Make room there, or {other}.", EXIT_FAILED
    if is_out_of_room(error):
        disks = f"on the disk of the output, or on the one of temporary files, {tempfile.gettempdir()}"
        return f"{reason}. Make room {disks} (TMPDIR chooses another one).", EXIT_FAILED
    if isinstance(error, OSError):
        status = _EXIT_BAD_INPUT if error.errno in _BAD_PATH else EXIT_FAILED
        return f"{path}: {reason}." if path else f"{reason}.", status
    jax = sys.modules.get("jax")
    # JAX says "backend" where it cannot start a device, or for some platforms raises an assertion without a word.
    if jax is None or not isinstance(error, RuntimeError | AssertionError) or (reason and "backend" not in reason):
        return "", EXIT_FAILED
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        platform = os.environ.get("JAX_PLATFORMS", "")
        problem = f"JAX_PLATFORMS is {platform}, which JAX cannot use here" if platform else "JAX finds no device"
        remedy = (
            f"Install its plugin, for example with {install_command('cuda')} or {install_command('tpu')}, or set "
            "JAX_PLATFORMS=cpu."
        )
        return f"{problem}{f' ({reason})' if reason else ''}. {remedy}", _EXIT_BAD_INPUT
    return "", EXIT_FAILED

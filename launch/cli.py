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
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import tyro

import dnabert_jax
from dnabert_jax.errors import InputError, JobError, device_memory_errors, first_line, is_out_of_room
from dnabert_jax.interop.hub import check_model
from launch.attention import Attention
from launch.demo import Demo
from launch.embed import Embed
from launch.ending import EXIT_FAILED, leaving_others, print_error
from launch.environment import missing_device, set_environment
from launch.evaluate import parse_evaluate
from launch.export import Export
from launch.finetune import parse_finetune
from launch.flags import INPUT_COPIES, REGISTRY, SETTINGS
from launch.import_model import Import
from launch.motifs import Motifs
from launch.mutations import Mutations
from launch.plan import parse_plan
from launch.predict import Predict
from launch.prepare import PrepareGenome, PrepareGenomeBeam, PreparePromoters, PrepareSplice, PrepareTfbs, PrepareVerify
from launch.pretrain import parse_pretrain
from launch.program import command
from launch.report import Report
from launch.signals import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    end_interrupted,
    end_on_sigint,
    ended_by,
    signals_as_exception,
)
from launch.variants import Variants

USAGE = f"""\
dnabert-jax {dnabert_jax.__version__}: pre-train, fine-tune and interpret DNABERT models with JAX.

usage: dnabert-jax COMMAND [flags]        dnabert-jax COMMAND --help lists the flags and shows an example

  demo                 run the whole pipeline on a sample of human DNA, in a few minutes on two CPU cores
  prepare genome       FASTA files -> packed k-mer rows for pre-training, in TFRecord shards
  prepare genome-beam  the same as an Apache Beam pipeline, on many machines
  prepare verify       check every file of a data directory against its manifest
  prepare promoters    genome and GTF -> promoters and other sequences, split for fine-tuning
  prepare splice       genome and GTF -> splice donors, acceptors and neither, split for fine-tuning
  prepare tfbs         genome and narrowPeak -> windows at peaks and in the background; a folder of peaks -> a suite
  pretrain             rows -> a masked language model, with checkpoints and logs
  plan                 estimate memory, time and cost on a TPU or GPU topology; --suite estimates fine-tuning
  import OWNER/NAME    published DNABERT weights of the Hugging Face hub, or a directory -> a checkpoint
  finetune             model and labelled DNA -> a classifier or a regression, measured on a test split
  evaluate SUITE       fine-tune a model on many data sets (tfbs690, gue, mouse, suite), beside baselines
  predict              FASTA, table, or BED and genome -> predictions of a fine-tuned model, as a table
  embed                the same inputs -> embeddings of sequences, k-mers or bases, as npz or Parquet
  attention            the same inputs -> a score for each base from attention, gradients or mutagenesis
  mutations            in-silico mutagenesis: the effect of substitutions and deletions; heat maps
  motifs               scores of bases -> enriched motifs: MEME, table, BED, logos
  variants             VCF and genome -> the effect of each variant, as VCF and table
  report               outputs of these commands -> one HTML page that opens offline
  export               checkpoint -> a directory for Hugging Face transformers

example: dnabert-jax import zhihan1996/DNA_bert_6 --out dnabert6
"""

_EXIT_BAD_INPUT = 2

_EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

_BAD_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip
"""Errors that a user mends by giving another path; others, such as a full disk, may go by themselves."""

_ASKS_FOR_USAGE: tuple[list[str], ...] = ([], ["-h"], ["--help"], ["prepare"], ["prepare", "-h"], ["prepare", "--help"])

_PREPARE: dict[str, type["_Runnable"]] = {
    "genome": PrepareGenome,
    "verify": PrepareVerify,
    "promoters": PreparePromoters,
    "splice": PrepareSplice,
    "tfbs": PrepareTfbs,
}

_PLAIN: dict[str, type["_Runnable"]] = {
    "import": Import,
    "predict": Predict,
    "embed": Embed,
    "attention": Attention,
    "mutations": Mutations,
    "motifs": Motifs,
    "variants": Variants,
    "report": Report,
    "export": Export,
    "demo": Demo,
}
"""Commands whose flags are the fields of a dataclass."""

_CONFIGURED: dict[str, Callable[[Sequence[str]], "_Runnable"]] = {
    "pretrain": parse_pretrain,
    "plan": parse_plan,
    "finetune": parse_finetune,
    "evaluate": parse_evaluate,
}
"""Commands that start from a configuration or a suite, with what parses their flags."""

_Job = TypeVar("_Job")


class _Runnable(Protocol):
    def run(self) -> None: ...


def main() -> None:
    """The console command."""
    end_on_sigint()
    # What Python does last of all is not interrupted: the signal would kill it there, with nothing said.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    # It may come before or after what it asks for, a profile, is possible.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # UTF-8 whatever the locale. By lines, so that what is printed and the progress bar keep their order in a log file.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    set_environment()
    _silence_libraries()
    with leaving_others():
        status = run(sys.argv[1:])
        sys.stderr.flush()
        if status in (EXIT_INTERRUPTED, EXIT_TERMINATED):
            # The libraries' threads may be anywhere: taking the interpreter down around them can crash.
            os._exit(status)
        sys.exit(status)


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
        if list(arguments) in _ASKS_FOR_USAGE:
            print(USAGE, end="")
            return 0 if arguments and arguments[-1].startswith("-") else _EXIT_BAD_INPUT
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
    except (InputError, JobError) as error:
        return _fail(str(error), _EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED)
    except OSError as error:
        return _end_by_system(error)
    # Of JAX and of libraries below it.
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_room(error):
            return _fail(_full_disk(error), EXIT_FAILED)
        if not (sentence := missing_device(error)):
            raise
        return _fail(sentence)
    except KeyboardInterrupt:
        resumable = arguments[0] in ("pretrain", "finetune")
        hint = " The same command with --resume goes on from the last checkpoint, if there is one." if resumable else ""
        print(f"Interrupted.{hint}", file=sys.stderr)
        return ended_by()
    return 0


def _end_by_system(error: OSError) -> int:
    """Prints what the operating system refused, and returns the exit status."""
    if error.errno == errno.EPIPE:
        # The reader has read what it wanted, as head does; nothing more can be said there, not at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    if is_out_of_room(error):
        return _fail(_full_disk(error), EXIT_FAILED)
    sentence = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
    return _fail(sentence, _EXIT_BAD_INPUT if error.errno in _BAD_PATH else EXIT_FAILED)


def _parse(arguments: Sequence[str]) -> _Runnable:
    match arguments:
        case ["prepare", what, *rest] if what in _PREPARE:
            return _command(_PREPARE[what], f"prepare {what}", rest)
        case ["prepare", "genome-beam", *rest]:
            flags, options = rest, []
            if "--" in rest:
                border = rest.index("--")
                flags, options = rest[:border], rest[border + 1 :]
            job = _command(PrepareGenomeBeam, "prepare genome-beam", flags)
            return dataclasses.replace(job, beam_options=tuple(options))
        case [name, *rest] if name in _CONFIGURED:
            return _CONFIGURED[name](rest)
        case [name, *rest] if name in _PLAIN:
            return _command(_PLAIN[name], name, rest)
    raise InputError(_no_such_command(arguments))


def _check_lists(value: object, flags: Sequence[str], flag: str = "") -> None:
    """Raises InputError if a flag that takes a list is given twice: the parser would keep only the last list."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_lists(getattr(value, field.name), flags, f"--{field.name.replace('_', '-')}")
    elif isinstance(value, tuple) and flags.count(flag) > 1:
        raise InputError(f"{flag} is given twice. Give all its values after one {flag}.")


def _no_such_command(arguments: Sequence[str]) -> str:
    called = " ".join(arguments[: 2 if arguments[0] == "prepare" else 1])
    prepare = [f"prepare {name}" for name in (*_PREPARE, "genome-beam")]
    # "verify" is meant for "prepare verify".
    names = {name.split()[-1]: name for name in prepare} | {name: name for name in (*prepare, *_PLAIN, *_CONFIGURED)}
    close = dict.fromkeys(names[match] for match in difflib.get_close_matches(called, names))
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"There is no command {called!r}.{meant} {command('--help')} lists them."


def _command(job: type[_Job], name: str, arguments: Sequence[str]) -> _Job:
    return tyro.cli(job, args=list(arguments), prog=f"dnabert-jax {name}", config=SETTINGS, registry=REGISTRY)


def _full_disk(error: Exception) -> str:
    """Returns a sentence that says which disk is full: the one of the file if that is known, else either of two."""
    reason = first_line(getattr(error, "strerror", None) or error)
    if path := getattr(error, "filename", None):
        other = "set TMPDIR to another directory" if path == tempfile.gettempdir() else "choose another output"
        return f"{path}: {reason}. Make room there, or {other}."
    return (
        f"{reason}. Make room on the disk of the output, or on the one of temporary files, {tempfile.gettempdir()} "
        "(TMPDIR chooses another one)."
    )


def _fail(sentence: str, status: int = _EXIT_BAD_INPUT) -> int:
    print_error(sentence)
    return status

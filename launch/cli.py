"""`dnabert-jax`: finds the job, runs it, and turns what the user can mend into one sentence and exit status 2."""

import atexit
import dataclasses
import difflib
import errno
import inspect
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import tyro

import dnabert_jax
from dnabert_jax.errors import InputError, JobError, device_memory_errors, is_out_of_room
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
from launch.prepare import PrepareGenome, PrepareGenomeBeam
from launch.prepare_derived import PreparePromoters, PrepareSplice, PrepareTfbs
from launch.pretrain import parse_pretrain
from launch.program import command
from launch.report import Report
from launch.signals import EXIT_INTERRUPTED, end_interrupted, end_on_sigint, ignore_sigusr1, sigint_as_exception
from launch.variants import Variants
from launch.verify import PrepareVerify

USAGE = f"""\
dnabert-jax {dnabert_jax.__version__}: DNABERT for JAX, from a genome to a model that transformers loads.

usage: dnabert-jax COMMAND [flags]        dnabert-jax COMMAND --help tells the flags, with an example

  demo                 the whole way below, on an embedded sample of human DNA, in a few minutes on two cores
  prepare genome       FASTA files -> packed k-mer rows in TFRecord shards
  prepare genome-beam  the same as an Apache Beam pipeline, on many machines
  prepare verify       is a data directory what its manifest says?
  prepare promoters    genome and GTF -> promoters and what is none, as one table split for fine-tuning
  prepare splice       genome and GTF -> donors, acceptors and neither
  prepare tfbs         genome and narrowPeak -> windows at summits and background
  pretrain             rows -> a masked-language model, with checkpoints and logs
  plan                 what pre-training would need and cost on TPUs or GPUs that are not there; --suite: fine-tunings
  import               a Hugging Face directory of a DNABERT -> a checkpoint to go on from
  finetune             a model and labelled DNA -> a classifier or a regression, measured on a test split
  evaluate SUITE       a model on many labelled sets (tfbs690, gue, mouse), beside baselines on the same splits
  predict              FASTA, BED and genome, or a table -> what a fine-tuned model says of each sequence, as a table
  embed                the same -> vectors of sequences, k-mers or bases, as npz or Parquet
  attention            the same -> scores of bases: attention, gradients or mutations, as table, npz or bigWig
  mutations            every substitution and deletion of sequences, or those of a file -> what each does; heat maps
  motifs               scores of bases -> enriched motifs: MEME, table, BED, logos
  variants             VCF and genome -> what each variant does to a model: VCF, table
  report               what these and finetune have written -> one HTML page that opens offline
  export               checkpoint -> a directory for Hugging Face transformers

example: dnabert-jax demo --out dnabert-demo
"""

_EXIT_BAD_INPUT = 2

_EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

_BAD_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip
"""What a user mends by giving another path; other errors, of a full disk say, may go by themselves."""

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
"""Commands of which a dataclass is all."""

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
    ignore_sigusr1()
    # UTF-8 whatever the locale. By lines, so that what is printed and the progress bar keep their order in a log file.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    set_environment()
    _silence_libraries()
    with leaving_others():
        status = run(sys.argv[1:])
        sys.stderr.flush()
        if status == EXIT_INTERRUPTED:
            # The libraries' threads may be anywhere: taking the interpreter down around them can crash.
            os._exit(status)
        sys.exit(status)


def _silence_libraries() -> None:
    """Of an error that is raised, `run` says one sentence; libraries say more of it, in threads and when they log."""
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
    """Runs one command and returns its exit status: 0, 1 (failed), 2 (bad input), 130 (interrupted), 141 (unread)."""
    try:
        if list(arguments) in _ASKS_FOR_USAGE:
            print(USAGE, end="")
            return 0 if arguments and arguments[-1].startswith("-") else _EXIT_BAD_INPUT
        if arguments[0] == "--version":
            print(dnabert_jax.__version__)
            return 0
        advice = "use a smaller batch, a larger mesh, or shorter sequences"
        with INPUT_COPIES, sigint_as_exception(), device_memory_errors(advice):
            _parse_and_check(arguments).run()
    except InputError as error:
        return _fail(str(error))
    except JobError as error:
        return _fail(str(error), EXIT_FAILED)
    except OSError as error:
        return _end_by_system(error)
    # Of JAX and of libraries below it.
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_room(error):
            return _fail(_full_disk(None, error), EXIT_FAILED)
        if isinstance(error, ValueError) or not (problem := missing_device()):
            raise
        return _fail(str(problem))
    except KeyboardInterrupt:
        resumable = arguments[0] in ("pretrain", "finetune")
        hint = " The same command with --resume goes on from the last checkpoint, if there is one." if resumable else ""
        print(f"Interrupted.{hint}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _end_by_system(error: OSError) -> int:
    """Says what the operating system refused, and returns the exit status."""
    if error.errno == errno.EPIPE and _reader_is_gone():
        # It has read what it wanted, as head does; nothing more can be said there, not at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_BROKEN_PIPE
    if is_out_of_room(error):
        return _fail(_full_disk(error.filename, error), EXIT_FAILED)
    sentence = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
    return _fail(sentence, _EXIT_BAD_INPUT if error.errno in _BAD_PATH else EXIT_FAILED)


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _parse_and_check(arguments: Sequence[str]) -> _Runnable:
    """Returns the job; raises InputError for a --model that cannot exist before anything else is read."""
    job = _parse(arguments)
    if isinstance(model := getattr(job, "model", None), str):
        check_model(model)
    return job


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


def _full_disk(path: str | None, error: Exception) -> str:
    """Returns what to say of a full disk: where it is if that is known, else what the library that met it says."""
    if path:
        return f"{path}: {getattr(error, 'strerror', None) or error}. Make room there, or choose another place."
    reason = str(getattr(error, "strerror", None) or error).partition("\n")[0][:300].rstrip(".")
    return (
        f"{reason}: make room on the disk of the output, or on that of temporary files, {tempfile.gettempdir()} "
        "(TMPDIR chooses another one)."
    )


def _fail(sentence: str, status: int = _EXIT_BAD_INPUT) -> int:
    print_error(sentence)
    return status

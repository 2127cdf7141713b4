"""`dnabert-jax`: finds the job, runs it, and turns what the user can mend into one sentence and exit status 2."""

import dataclasses
import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import Protocol, TypeVar

import tyro

import dnabert_jax
from dnabert_jax.errors import InputError, JobError
from launch.demo import Demo
from launch.ending import EXIT_FAILED, leaving_others, print_error
from launch.export import Export
from launch.flags import REGISTRY, SETTINGS
from launch.import_model import Import
from launch.plan import parse_plan
from launch.prepare import PrepareGenome, PrepareGenomeBeam
from launch.pretrain import parse_pretrain
from launch.verify import PrepareVerify

USAGE = f"""\
dnabert-jax {dnabert_jax.__version__}: DNABERT for JAX, from a genome to a model that transformers loads.

usage: dnabert-jax COMMAND [flags]        dnabert-jax COMMAND --help tells the flags, with an example

  demo                 the whole way below, on an embedded sample of human DNA, in a few minutes on two cores
  prepare genome       FASTA files -> packed k-mer rows in TFRecord shards
  prepare genome-beam  the same as an Apache Beam pipeline, on many machines
  prepare verify       is a data directory what its manifest says?
  pretrain             rows -> a masked-language model, with checkpoints and logs
  plan                 what pre-training would need and cost on TPUs or GPUs that are not there
  import               a Hugging Face directory of a DNABERT -> a checkpoint to go on from
  export               checkpoint -> a directory for Hugging Face transformers

example: dnabert-jax demo --out dnabert-demo
"""

_EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130

_BAD_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENAMETOOLONG,
)  # fmt: skip
"""What a user mends by giving another path; other errors, of a full disk say, may go by themselves."""

_ASKS_FOR_USAGE: tuple[list[str], ...] = ([], ["-h"], ["--help"], ["prepare"], ["prepare", "-h"], ["prepare", "--help"])

_Job = TypeVar("_Job")


class _Runnable(Protocol):
    def run(self) -> None: ...


def main() -> None:
    """The console command."""
    # So that what is printed and the progress bar keep their order in a log file too.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    # orbax and gcsfs log there, with a traceback, what they then raise, and what is raised is said in a sentence below.
    for name in ("absl", "asyncio", "gcsfs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with leaving_others():
        status = run(sys.argv[1:])
        sys.stderr.flush()
        if status == _EXIT_INTERRUPTED:
            # The libraries' threads may be anywhere: taking the interpreter down around them can crash.
            os._exit(status)
        sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status: 0, 1 if it failed, 2 for bad input, 130 if interrupted."""
    if list(arguments) in _ASKS_FOR_USAGE:
        print(USAGE, end="")
        return 0 if arguments and arguments[-1].startswith("-") else _EXIT_BAD_INPUT
    if arguments[0] == "--version":
        print(dnabert_jax.__version__)
        return 0
    try:
        _parse(arguments).run()
    except InputError as error:
        return _fail(str(error))
    except JobError as error:
        return _fail(str(error), EXIT_FAILED)
    except OSError as error:
        # A full disk names no file.
        sentence = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
        return _fail(sentence, _EXIT_BAD_INPUT if error.errno in _BAD_PATH else EXIT_FAILED)
    except KeyboardInterrupt:
        hint = " If the run has a checkpoint, --resume goes on from there." if arguments[0] == "pretrain" else ""
        print(f"Interrupted.{hint}", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return 0


def _parse(arguments: Sequence[str]) -> _Runnable:
    match arguments:
        case ["prepare", "genome", *rest]:
            return _command(PrepareGenome, "prepare genome", rest)
        case ["prepare", "genome-beam", *rest]:
            flags, options = rest, []
            if "--" in rest:
                border = rest.index("--")
                flags, options = rest[:border], rest[border + 1 :]
            job = _command(PrepareGenomeBeam, "prepare genome-beam", flags)
            return dataclasses.replace(job, beam_options=tuple(options))
        case ["prepare", "verify", *rest]:
            return _command(PrepareVerify, "prepare verify", rest)
        case ["pretrain", *rest]:
            return parse_pretrain(rest)
        case ["plan", *rest]:
            return parse_plan(rest)
        case ["import", *rest]:
            return _command(Import, "import", rest)
        case ["export", *rest]:
            return _command(Export, "export", rest)
        case ["demo", *rest]:
            return _command(Demo, "demo", rest)
    raise InputError(f"There is no command {' '.join(arguments[:2])!r}: dnabert-jax --help lists them.")


def _command(job: type[_Job], name: str, arguments: Sequence[str]) -> _Job:
    return tyro.cli(job, args=list(arguments), prog=f"dnabert-jax {name}", config=SETTINGS, registry=REGISTRY)


def _fail(sentence: str, status: int = _EXIT_BAD_INPUT) -> int:
    print_error(sentence)
    return status

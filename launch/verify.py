"""`dnabert-jax prepare verify`."""

import dataclasses
import sys
from typing import Annotated

import tyro
from tqdm import tqdm

from data_prep.verify import verify_directory
from dnabert_jax.data.rows import read_source
from dnabert_jax.storage import Location
from launch.progress import progress_bar

_EXIT_UNSOUND = 1


@dataclasses.dataclass(frozen=True)
class PrepareVerify:
    """Check a data directory against its manifest: every byte, id, sequence and count. Reports all that is wrong.

    Example: dnabert-jax prepare verify data/hg38-k6

    Attributes:
        directory: Made by `dnabert-jax prepare`, local or the URL of one, or a TFDS data set of such rows in
            array_record files.
    """

    directory: Annotated[Location, tyro.conf.Positional]

    def run(self) -> None:
        """Verifies; exits with status 1 if anything is wrong."""
        rows = sum(split.rows for split in read_source(self.directory)[0].splits.values())
        problems = 0
        with progress_bar("verify", "row", rows, unit_scale=True) as bar:
            for problem in verify_directory(self.directory, bar.update):
                problems += 1
                tqdm.write(problem, sys.stdout)
        if problems:
            print(f"{self.directory}: {problems:,} problem{'s' * (problems > 1)}: make it anew.", file=sys.stderr)
            sys.exit(_EXIT_UNSOUND)
        print(f"{self.directory} is sound: {rows:,} rows are what its metadata say.")

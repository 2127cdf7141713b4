"""`dnabert-jax export`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dnabert_jax.storage import Location, is_url
from launch.signals import importing


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a checkpoint as a directory that Hugging Face transformers loads with no remote code.

    Example: dnabert-jax export runs/hg38-k6 --out models/dnabert6-hg38

    Attributes:
        run_directory: Run directory made by `dnabert-jax pretrain`.
        out: Directory to make, local or the URL of one; must not exist.
        step: Which checkpoint; the latest if none is given.
    """

    run_directory: Annotated[Path, tyro.conf.Positional]
    out: Location
    step: int | None = None

    def run(self) -> None:
        """Exports and says how to load it."""
        with importing():
            from dnabert_jax.interop.export import export_run

        checkpoint = export_run(self.run_directory, self.out, self.step)
        print(f"Exported step {checkpoint.step:,} of {self.run_directory} to {self.out}.")
        load = "Copy it to a local disk to load it" if is_url(self.out) else "Load it"
        print(
            f'{load}: AutoModelForMaskedLM.from_pretrained("{self.out}"); how to use it stands in {self.out}/README.md'
        )

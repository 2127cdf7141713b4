"""`dnabert-jax export`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnabert_jax.storage import Location, is_url

_LOADERS = {
    "masked-lm": "AutoModelForMaskedLM", "encoder": "AutoModel", "classifier": "AutoModelForSequenceClassification",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a checkpoint as a directory that Hugging Face transformers loads with no remote code.

    Example: dnabert-jax export runs/hg38-k6 --out models/dnabert6-hg38

    Attributes:
        checkpoint: Run directory made by `dnabert-jax pretrain`, or model directory made by `dnabert-jax import`.
        out: Directory to make, local or the URL of one; must not exist.
        step: Which checkpoint; the latest if none is given.
        architecture: masked-lm, encoder (no head), classifier; what the checkpoint has if none is given.
        format: Of the weights: model.safetensors, pytorch_model.bin (needs PyTorch), or both.
        dtype: Of the weights; float32 is exact, the others round once.
    """

    checkpoint: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Location, tyro.conf.arg(aliases=["--to"])]
    step: int | None = None
    architecture: Literal["masked-lm", "encoder", "classifier"] | None = None
    format: Literal["safetensors", "pytorch", "both"] = "safetensors"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    def run(self) -> None:
        """Exports and says how to load it."""
        from dnabert_jax.interop.export import export_model
        from dnabert_jax.training.saved_model import read_saved_model

        model = read_saved_model(self.checkpoint, self.step)
        architecture = export_model(model, self.out, self.architecture, self.format, self.dtype)
        print(f"Exported step {model.step:,} of {self.checkpoint} to {self.out}.")
        load = "Copy it to a local disk to load it" if is_url(self.out) else "Load it"
        task = model.description.task
        pools_kmers = architecture == "classifier" and task is not None and task.pooling != "cls"
        loader = _LOADERS["encoder" if pools_kmers else architecture]
        print(f'{load}: {loader}.from_pretrained("{self.out}").')
        if is_url(self.out) or (Path(self.out) / "README.md").is_file():
            print(f"{self.out}/README.md shows how to use it.")

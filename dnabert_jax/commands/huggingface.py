"""`dnabert-jax import` and `export`: models from and for Hugging Face transformers."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dnabert_jax.commands.console import command
from dnabert_jax.config import ModelConfig
from dnabert_jax.families import PRESETS, closest_preset, family_of
from dnabert_jax.interop.hub import check_model
from dnabert_jax.storage import Location, is_url

_LOADERS = {
    "masked-lm": "AutoModelForMaskedLM", "encoder": "AutoModel", "classifier": "AutoModelForSequenceClassification",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Import:
    """Read published weights, from the Hugging Face hub or a directory, into a model directory.

    Example: dnabert-jax import zhihan1996/DNA_bert_6 --out models/dna_bert_6

    DNABERT is zhihan1996/DNA_bert_3 to DNA_bert_6, for k = 3 to 6: PyTorch files, which torch reads. Nucleotide
    Transformer is InstaDeepAI/nucleotide-transformer-500m-human-ref, -2.5b-multi-species, -v2-50m-multi-species and so
    on; its licence forbids commercial use. No code in a repository or directory is run.

    Attributes:
        directory: OWNER/NAME of a repository on the Hugging Face hub, which needs huggingface_hub; or a directory with
            config.json, the tokenizer's files, and model.safetensors or pytorch_model.bin, which needs torch.
        out: Model directory to make; must not exist.
        double_bias: Double the bias of the masked-LM head: the original's code, which trained the published weights,
            adds it twice. Masked k-mers are then predicted as there; nothing else changes.
    """

    directory: Annotated[str, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.arg(aliases=["--to"])]
    double_bias: bool = False

    def run(self) -> None:
        """Imports, and lists what was left out and why."""
        check_model(self.directory)
        from dnabert_jax.interop.hub import local_directory
        from dnabert_jax.interop.huggingface import listed, to_huggingface
        from dnabert_jax.interop.load import load_directory
        from dnabert_jax.training.saved_model import write_saved_model

        model = load_directory(local_directory(self.directory), self.double_bias)
        write_saved_model(self.out, model)
        config, imported = model.config, model.description.provenance["imported"]
        count, parts = len(to_huggingface(model.parameters, config)), ", ".join(model.parameters)
        print(
            f"Imported {self.directory} to {self.out}: {family_of(config).title} on {config.tokenizer.unit}, "
            f"{config.num_layers} layers of {config.hidden_size}; {count} tensors, in the parts {parts}."
        )
        for note in imported["notes"]:
            print(note)
        reasons: dict[str, list[str]] = {}
        for name, reason in imported["left_out"].items():
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            print(f"Left out {listed(names)}: {reason}.")
        if "head" in model.parameters:
            flags = (*_model_flags(config), "--initial-checkpoint", self.out)
            print(f"Next: {command('pretrain', '--data', 'ROWS', '--out', 'RUN', *flags)}")
        print(f"Next: {command('export', self.out, '--out', 'DIRECTORY')}")


def _model_flags(config: ModelConfig) -> list[str]:
    """Returns the flags of the closest preset, and of what differs from it in size."""
    from dnabert_jax.training.saved_model import MAY_DIFFER

    preset = closest_preset(config.tokenizer, config)
    flags = ["--preset", preset]
    for field in dataclasses.fields(ModelConfig):
        value = getattr(config, field.name)
        if field.name not in MAY_DIFFER and value != getattr(PRESETS[preset].model, field.name):
            flags += [f"--model.{field.name.replace('_', '-')}", str(value)]
    return flags


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

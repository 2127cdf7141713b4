"""`dnabert-jax import`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from dnabert_jax.commands.console import command
from dnabert_jax.config import ModelConfig
from dnabert_jax.families import PRESETS, closest_preset
from dnabert_jax.interop.hub import check_model


@dataclasses.dataclass(frozen=True)
class Import:
    """Read the weights of a DNABERT, from the Hugging Face hub or a directory, into a model directory.

    Example: dnabert-jax import zhihan1996/DNA_bert_6 --out models/dna_bert_6

    The published weights are zhihan1996/DNA_bert_3, DNA_bert_4, DNA_bert_5 and DNA_bert_6, for k = 3 to 6. They are
    PyTorch files: reading them needs torch. No code in a repository or directory is run.

    Attributes:
        directory: OWNER/NAME of a repository on the Hugging Face hub, which needs huggingface_hub; or a directory with
            config.json, vocab.txt, and model.safetensors or pytorch_model.bin, which needs torch.
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
        from dnabert_jax.interop.huggingface import to_huggingface
        from dnabert_jax.interop.load import load_directory
        from dnabert_jax.training.saved_model import write_saved_model

        model = load_directory(local_directory(self.directory), self.double_bias)
        write_saved_model(self.out, model)
        config, imported = model.config, model.description.provenance["imported"]
        count, parts = len(to_huggingface(model.parameters, config)), ", ".join(model.parameters)
        print(
            f"Imported {self.directory} to {self.out}: k = {config.k}, {config.num_layers} layers of "
            f"{config.hidden_size}; {count} tensors, in the parts {parts}."
        )
        for note in imported["notes"]:
            print(note)
        for name, reason in imported["left_out"].items():
            print(f"Left out {name}: {reason}.")
        if "head" in model.parameters:
            flags = (*_model_flags(config), "--initial-checkpoint", self.out)
            print(f"Next: {command('pretrain', '--data', 'ROWS', '--out', 'RUN', *flags)}")
        print(f"Next: {command('export', self.out, '--out', 'DIRECTORY')}")


def _model_flags(config: ModelConfig) -> list[str]:
    """Returns the flags of the closest preset, and of what differs from it in size."""
    preset = closest_preset(config.tokenizer)
    flags = ["--preset", preset]
    for field in dataclasses.fields(ModelConfig):
        value = getattr(config, field.name)
        if isinstance(value, int) and value != getattr(PRESETS[preset].model, field.name):
            flags += [f"--model.{field.name.replace('_', '-')}", str(value)]
    return flags

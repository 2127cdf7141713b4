"""Fills `model_card.md`, the README.md of an exported model: its data, its training, its figures, and how to use it."""

import functools
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import dnabert_jax
from dnabert_jax.config import PretrainConfig
from dnabert_jax.data.manifest import HELDOUT
from dnabert_jax.families import family_of
from dnabert_jax.families.family import EXAMPLE
from dnabert_jax.io.markdown import escaped, table
from dnabert_jax.training.saved_model import SavedModel
from dnabert_jax.typed_json import parse_json

_NO_POOLER = " The weights have no pooler: transformers starts one at random, so `pooler_output` means nothing."


class _What(NamedTuple):
    """How a model of some architecture is called and used."""

    title: str
    pipeline: str
    use: str
    auto_class: str
    output: str


_FINE_TUNE = "to fine-tune, to embed"
_PREDICT = "to predict what it was fine-tuned for on like sequences"
_WHAT = {
    "masked-lm": _What(
        "masked-language model", "fill-mask", f"{_FINE_TUNE}, to score tokens", "AutoModelForMaskedLM", "logits"
    ),
    "encoder": _What("encoder", "feature-extraction", _FINE_TUNE, "AutoModel", "last_hidden_state"),
    "classifier": _What(
        "classifier of sequences", "text-classification", _PREDICT, "AutoModelForSequenceClassification", "logits"
    ),
}
_POOLED = {
    "mean": "hidden.mean(1)",
    "max": "hidden.amax(1)",
    "mean-max": "torch.cat([hidden.mean(1), hidden.amax(1)], 1)",
    "attention": 'torch.einsum("bl,blh->bh", torch.softmax(hidden @ head["pooling_query"], 1), hidden)',
}


_PACKING = {True: ", several sequences packed into each", False: ", one sequence in each", None: ""}


def model_card(model: SavedModel, architecture: str) -> str:
    """Returns Markdown with the metadata block that the Hugging Face hub reads."""
    provenance, config, what = model.description.provenance, model.config, _WHAT[architecture]
    task = model.description.task if architecture == "classifier" else None
    family = family_of(config)
    code, outputs = _part("code", what=what, example=EXAMPLE, load=family.load_arguments(config)), ""
    if task:
        labels = ", ".join(f"'{escaped(label)}'" for label in task.labels)
        outputs = f"\n\nOutputs, {task.problem.replace('_', ' ')}: {labels}."
        if task.pooling != "cls" or task.strands == "both":
            # transformers would read [CLS] of one strand.
            name = "code of [CLS]" if task.pooling == "cls" else "code of pooled tokens"
            content = "[:, 1:-1]  # without [CLS] and [SEP]" if config.tokenizer.suffix else "[:, 1:]  # without <cls>"
            values = {"config": config, "family": family, "load": family.load_arguments(config), "content": content}
            one_strand = _part(name, pooled=_POOLED.get(task.pooling), **values)
            strands = "one strand" if task.strands == "forward" else "both strands"
            code = _part(f"code of {strands}", logits_of_strand=one_strand, example=EXAMPLE)
    # The publisher's licence binds what is derived from the published weights.
    licence = f"license: {family.licence}\n" if family.licence and _imported(provenance) else ""
    header = {"licence": licence, "family": family, "unit": config.tokenizer.unit, "summary": family.summary(config)}
    header |= {"code": code, "tokenizer": family.tokenizer_section(config), "outputs": outputs}
    sections = [_part("header", what=what, config=config, version=dnabert_jax.__version__, **header)]
    if imported := _imported(provenance):
        notes = "".join(f" {escaped(note)}" for note in imported.get("notes", []))
        files = table(["file", "SHA-256"], list(imported["sha256"].items()))
        sections.append(_part("origin", directory=escaped(imported["directory"]), notes=notes, files=files))
    if "pretraining" in provenance:
        sections.append(_pretraining(provenance["pretraining"]))
    if "finetuning" in provenance and architecture == "classifier":
        sections.append(_finetuning(provenance["finetuning"]))
    pooler = "" if "pooler" in model.parameters or architecture == "masked-lm" else _NO_POOLER
    return "\n\n".join([*sections, _part("limits", what=what, pooler=pooler)]) + "\n"


def _part(name: str, **values: Any) -> str:
    """Returns a part of the template, filled with these values."""
    return _parts()[name].rstrip().format(**values)


@functools.cache
def _parts() -> dict[str, str]:
    template = resources.files(__package__).joinpath("model_card.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^<!-- part: (.+) -->\n", template, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _imported(provenance: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the provenance of what was imported, to train on or not."""
    if "imported" in provenance:
        return provenance["imported"]
    initial = provenance.get("pretraining", {}).get("initial")
    return _imported(initial) if initial else None


def _finetuning(run: dict[str, Any]) -> str:
    recipe = ", ".join(f"{name} {value}" for name, value in run["config"].items() if value not in (None, ""))
    sizes = ", ".join(f"{split} {count:,}" for split, count in run["sizes"].items())
    figures = [[key, f"{value:.4f}"] for key, value in run["test"].items() if value is not None]
    texts = {"data": escaped(run["data"]), "sizes": sizes, "recipe": escaped(recipe)}
    return _part("fine-tuning", run=run, figures=table(["test split", ""], figures), **texts)


def _pretraining(run: dict[str, Any]) -> str:
    config = parse_json(PretrainConfig, json.dumps(run["config"]).encode(), "The run's config.json")
    step, manifest, evaluation, masking = run["step"], run["data"], run["evaluation"], config.masking
    rate, unit = f"{masking.rate:.0%}", config.model.tokenizer.unit
    if step > masking.late_from_step:
        rate += f", {masking.late_rate:.0%} from step {masking.late_from_step:,}"
    if HELDOUT not in manifest["splits"]:
        figures = "None: the data have no held-out part."
    elif evaluation is None:
        figures = "None: this checkpoint was saved before the first evaluation."
    else:
        when = f"of the weights of step {evaluation['step']:,}, earlier in the same run"
        when = when if evaluation["step"] != step else "of these weights"
        hidden = evaluation["figures"].get("hidden_base_loss")
        values = {"when": when, "figures": evaluation["figures"], "config": config, "unit": unit}
        figures = _part("figures", hidden_loss="not measured" if hidden is None else f"{hidden:.4f}", **values)
    start = f"{config.model.initializer} initialisation"
    if config.initial_checkpoint:
        start = f"begun with the weights of {escaped(Path(config.initial_checkpoint).name)}"
    texts = {"data": _data(manifest), "packing": _PACKING[manifest["packed"]], "rate": rate, "start": start}
    texts["decay"] = {
        "linear": f"linearly to 0 at step {config.optimizer.schedule_steps:,}",
        "inverse-sqrt": "by the inverse square root of the step",
    }[config.optimizer.decay]
    return _part("pretraining", step=step, config=config, unit=unit, figures=figures, **texts)


def _data(manifest: dict[str, Any]) -> str:
    policies, sources, splits = manifest["policies"], manifest["sources"], manifest["splits"]
    if not policies:
        # A TFDS data set, of which no more is known (Manifest).
        data_sets = "; ".join(f"{escaped(source['name'])}, {source['bytes']:,} bytes" for source in sources)
        rows = "; ".join(f"{name}: {split['rows']:,}" for name, split in splits.items())
        return _part("data of TFDS", data_sets=data_sets, rows=rows)
    files = [[s["name"], f"{s['records']:,}", f"{s['bases']:,}", f"{s['sha256'][:16]}…"] for s in sources]
    sizes = [[name, *(f"{split[key]:,}" for key in ("sequences", "kmers", "bases"))] for name, split in splits.items()]
    tables = {
        "sources": table(["source", "records", "bases", "SHA-256"], files),
        "splits": table(["split", "sequences", "tokens", "certain bases"], sizes),
    }
    return _part("data of genomes", policies=policies, heldout=escaped(policies["heldout"]), **tables)

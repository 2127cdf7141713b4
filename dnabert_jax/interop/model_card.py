"""Writes the README.md of an exported model: its data, its training, its figures, and how to use it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import dnabert_jax
from dnabert_jax.config import ModelConfig, PretrainConfig, TaskConfig
from dnabert_jax.data.manifest import HELDOUT
from dnabert_jax.interop.tokenizer import EXAMPLE, tokenizer_section
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
        "masked-language model", "fill-mask", f"{_FINE_TUNE}, to score k-mers", "AutoModelForMaskedLM", "logits"
    ),
    "encoder": _What("encoder", "feature-extraction", _FINE_TUNE, "AutoModel", "last_hidden_state"),
    "classifier": _What(
        "classifier of sequences", "text-classification", _PREDICT, "AutoModelForSequenceClassification", "logits"
    ),
}


def model_card(model: SavedModel, architecture: str) -> str:
    """Returns Markdown with the metadata block that the Hugging Face hub reads."""
    provenance = model.description.provenance
    sections = [_header(model, architecture), _use(model, architecture)]
    imported = _imported(provenance)
    if imported:
        sections.append(_origin(imported))
    if "pretraining" in provenance:
        sections.append(_pretraining(provenance["pretraining"]))
    if "finetuning" in provenance and architecture == "classifier":
        sections.append(_finetuning(provenance["finetuning"]))
    pooler = "" if "pooler" in model.parameters or architecture == "masked-lm" else _NO_POOLER
    sections.append(f"""## Intended use and limits

For research on DNA: {_WHAT[architecture].use}. It is not a diagnostic, nor a basis for decisions on patients. It
learned from the data above; how well it does on other genomes is unknown.{pooler}
""")
    return "\n\n".join(sections)


def _header(model: SavedModel, architecture: str) -> str:
    config, what = model.config, _WHAT[architecture]
    return f"""---
library_name: transformers
pipeline_tag: {what.pipeline}
tags:
- biology
- dna
- dnabert
---

# DNABERT, k = {config.k}, {config.num_layers} layers of {config.hidden_size}: {what.title}

A BERT of DNA in overlapping {config.k}-mers, after DNABERT (Ji et al. 2021, doi 10.1093/bioinformatics/btab083),
written by dnabert-jax {dnabert_jax.__version__}. It is BERT as `transformers` knows it: no remote code."""


def _use(model: SavedModel, architecture: str) -> str:
    config, task = model.config, model.description.task
    code, outputs = _stock_code(_WHAT[architecture]), ""
    if architecture == "classifier" and task:
        if task.pooling != "cls" or task.strands == "both":
            code = _classifier_code(config, task)
        labels = ", ".join(f"'{escaped(label)}'" for label in task.labels)
        outputs = f"\n\nOutputs, {task.problem.replace('_', ' ')}: {labels}."
    return f"""## Use

```python
{code}
```

{tokenizer_section(config.k, config.max_positions)}{outputs}"""


def _stock_code(what: _What) -> str:
    return f"""from transformers import AutoTokenizer, {what.auto_class}

tokenizer = AutoTokenizer.from_pretrained(".")
model = {what.auto_class}.from_pretrained(".")

{what.output} = model(**tokenizer("{EXAMPLE}", return_tensors="pt")).{what.output}"""


_POOLED = {
    "mean": "hidden.mean(1)",
    "max": "hidden.amax(1)",
    "mean-max": "torch.cat([hidden.mean(1), hidden.amax(1)], 1)",
    "attention": 'torch.einsum("bl,blh->bh", torch.softmax(hidden @ head["pooling_query"], 1), hidden)',
}


def _classifier_code(config: ModelConfig, task: TaskConfig) -> str:
    """Returns how transformers applies a classifier that pools k-mers or reads both strands, unlike its own."""
    if task.pooling == "cls":
        read = """from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForSequenceClassification.from_pretrained(".")


def strand_logits(sequence):
    return model(**tokenizer(sequence, return_tensors="pt")).logits"""
    else:
        read = f"""import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
encoder = AutoModel.from_pretrained(".", add_pooling_layer=False)
head = load_file("model.safetensors")


def strand_logits(sequence):
    hidden = encoder(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[:, 1:-1]  # without [CLS] and [SEP]
    pooled = {_POOLED[task.pooling]}
    norm = head["pooled_norm.weight"], head["pooled_norm.bias"], {config.layer_norm_epsilon}
    pooled = torch.nn.functional.layer_norm(pooled, pooled.shape[1:], *norm)
    return torch.nn.functional.linear(pooled, head["classifier.weight"], head["classifier.bias"])"""
    if task.strands == "forward":
        return f'''{read}


logits = strand_logits("{EXAMPLE}")'''
    return f'''{read}


def other_strand(sequence):
    return sequence.translate(str.maketrans("ACGT", "TGCA"))[::-1]


sequence = "{EXAMPLE}"
logits = (strand_logits(sequence) + strand_logits(other_strand(sequence))) / 2'''


def _imported(provenance: dict[str, Any]) -> dict[str, Any] | None:
    """What was imported, to train on or not."""
    if "imported" in provenance:
        return provenance["imported"]
    initial = provenance.get("pretraining", {}).get("initial")
    return _imported(initial) if initial else None


def _origin(imported: dict[str, Any]) -> str:
    files = list(imported["sha256"].items())
    notes = "".join(f" {escaped(note)}" for note in imported.get("notes", []))
    return f"""## Origin

Imported from the directory {escaped(imported["directory"])}. Its makers say what it was trained on.{notes}

{table(["file", "SHA-256"], files)}"""


def _finetuning(finetuning: dict[str, Any]) -> str:
    sizes = ", ".join(f"{split} {count:,}" for split, count in finetuning["sizes"].items())
    recipe = ", ".join(f"{name} {value}" for name, value in finetuning["config"].items() if value not in (None, ""))
    test = {key: value for key, value in finetuning["test"].items() if value is not None}
    figures = [[key, f"{value:.4f}"] for key, value in test.items()]
    return f"""## Fine-tuning

On {escaped(finetuning["data"])} ({sizes} sequences), seed {finetuning["seed"]}. The weights are those of epoch
{finetuning["epoch"]}, the best by the validation split. Recipe: {escaped(recipe)}.

{table(["test split", ""], figures)}"""


def _pretraining(pretraining: dict[str, Any]) -> str:
    config = parse_json(PretrainConfig, json.dumps(pretraining["config"]).encode(), "The run's config.json")
    step, manifest, evaluation = pretraining["step"], pretraining["data"], pretraining["evaluation"]
    return f"""## Data

{_data_table(manifest)}

## Recipe

{_recipe(config, step, manifest)}

## Held-out figures

{_figures(config, step, manifest, evaluation)}"""


def _data_table(manifest: dict[str, Any]) -> str:
    policies = manifest["policies"]
    if not policies:
        # A TFDS data set, of which no more is known (Manifest).
        data_sets = [f"{escaped(source['name'])}, {source['bytes']:,} bytes" for source in manifest["sources"]]
        rows = [f"{name}: {split['rows']:,}" for name, split in manifest["splits"].items()]
        return (
            f"The TFDS data set {'; '.join(data_sets)}. Rows: {'; '.join(rows)}. Which sequences they are from, how "
            "they were cut and what was held out is not recorded."
        )
    sources = [
        [source["name"], f"{source['records']:,}", f"{source['bases']:,}", f"{source['sha256'][:16]}…"]
        for source in manifest["sources"]
    ]
    splits = [
        [name, f"{split['sequences']:,}", f"{split['kmers']:,}", f"{split['bases']:,}"]
        for name, split in manifest["splits"].items()
    ]
    return f"""{table(["source", "records", "bases", "SHA-256"], sources)}

{table(["split", "sequences", "k-mers", "certain bases"], splits)}

Windows: {policies["windows"]}. {policies["ambiguous_bases"]}. Lower case: {policies["lower_case"]}.
Held out: {escaped(policies["heldout"])}."""


def _recipe(config: PretrainConfig, step: int, manifest: dict[str, Any]) -> str:
    masking, optimizer = config.masking, config.optimizer
    rate = f"{masking.rate:.0%}"
    if step > masking.late_from_step:
        rate += f", {masking.late_rate:.0%} from step {masking.late_from_step:,}"
    model = config.model
    initial = config.initial_checkpoint
    begun = f"begun with the weights of {escaped(Path(initial).name)}" if initial else ""
    start = begun or f"{model.initializer} initialisation"
    packing = {True: ", several sequences packed into each", False: ", one sequence in each", None: ""}
    return "\n".join(
        [
            f"- {step:,} steps of {config.global_batch:,} rows{packing[manifest['packed']]}",
            f"- masked k-mers: {rate}, in spans of {model.k}; replaced by [MASK] {masking.mask_share:.0%}, "
            f"by a random k-mer {masking.random_share:.0%}, left as they are otherwise",
            f"- AdamW: betas {optimizer.beta1:g} and {optimizer.beta2:g}, epsilon {optimizer.epsilon:g}, "
            f"weight decay {optimizer.weight_decay:g} (not on biases and LayerNorm), "
            f"gradient norm clipped at {optimizer.clip_norm:g}",
            f"- learning rate: linear to {optimizer.peak_learning_rate:g} over {optimizer.warmup_steps:,} steps, "
            f"then linear to 0 at step {optimizer.schedule_steps:,}",
            f"- dropout {model.dropout:g}, on attention {model.attention_dropout:g}; "
            f"{start}; compute in {model.compute_dtype}; seed {config.seed}",
        ]
    )


def _figures(config: PretrainConfig, step: int, manifest: dict[str, Any], evaluation: dict[str, Any] | None) -> str:
    if HELDOUT not in manifest["splits"]:
        return "None: the data have no held-out part."
    if evaluation is None:
        return "None: this checkpoint was saved before the first evaluation."
    figures = evaluation["figures"]
    when = "of these weights"
    if evaluation["step"] != step:
        when = f"of the weights of step {evaluation['step']:,}, earlier in the same run"
    return f"""Measured {when}, on {figures["masked_kmers"]:,} masked k-mers of the held-out part, at the masking rate
{config.masking.rate:.0%}.

| loss (nats per masked k-mer) | accuracy per masked k-mer | accuracy per hidden base |
|---|---|---|
| {figures["loss"]:.4f} | {figures["accuracy"]:.4f} | {figures["hidden_base_accuracy"]:.4f} |

Neighbours of a lone span of k masked k-mers show all of its bases but one, so that the figures per k-mer flatter; a
hidden base is one that no visible k-mer shows."""

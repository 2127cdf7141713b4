"""`dnabert-jax demo`: the main job on the embedded sample, from FASTA to a directory that transformers loads."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from dnabert_jax.commands.prepare import describe, preparation_bars
from dnabert_jax.commands.pretrain import TrainingBar
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.errors import JobError
from dnabert_jax.extras import install_command
from dnabert_jax.families import PRESETS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.outputs import refuse_existing
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.sequence.bases import base_codes

if TYPE_CHECKING:  # loads JAX
    from dnabert_jax.training.evaluation import Evaluation
    from dnabert_jax.training.saved_model import SavedModel

_EXAMPLE_BASES = 100
_MASKED_KMERS = slice(40, 43)


@dataclasses.dataclass(frozen=True)
class Demo:
    """Prepare, pre-train, export and evaluate a tiny DNABERT on one million bases of human chromosome 22.

    Takes a few minutes on two cores. Example: dnabert-jax demo --out dnabert-demo

    Attributes:
        out: Directory to make; must not exist.
    """

    out: Path = Path("dnabert-demo")

    def run(self) -> None:
        """Runs the whole way and prints one table."""
        refuse_existing(self.out)
        config = PRESETS["tiny"]
        data, run, model = self.out / "data", self.out / "run", self.out / "model"

        print(f"1. prepare: the sample (GRCh37 chr22:20,000,001-21,000,000) -> {data}")
        job = GenomeJob(fasta=(TRAIN_FASTA,), heldout_fasta=(HELDOUT_FASTA,), out=data, k=config.model.k)
        with preparation_bars() as bar:
            manifest = prepare_genome(job, progress=bar.advanced)
        print(describe(manifest))

        # JAX is loaded here and not above, so that preparing data and --help start at once.
        import jax

        from dnabert_jax.interop.export import export_model
        from dnabert_jax.telemetry.run_log import draw_loss_curve
        from dnabert_jax.training.baselines import compare_heldout
        from dnabert_jax.training.loop import pretrain
        from dnabert_jax.training.saved_model import read_saved_model

        # One device: a batch of the preset need not divide over all.
        device = jax.devices()[:1]
        print(f"2. pretrain: preset tiny -> {run}")
        with TrainingBar() as training_bar:
            pretrain(config, data, run, [training_bar], devices=device)

        print(f"3. export -> {model}")
        trained_model = read_saved_model(run)
        export_model(trained_model, model)

        print("4. compare, on the same held-out rows under the same masks")
        figures = compare_heldout(config, data, run, device)
        print(_comparison_table(figures))
        curve = self.out / "loss.png"
        draw_loss_curve(run, curve)
        if curve.exists():
            print(f"Loss curve: {curve}")
        print(_try_transformers(model, trained_model))
        print(f"All of it lies in {self.out}; how to use the model stands in {model}/README.md.")
        trained, *others = figures.values()
        if not all(trained.loss < other.loss for other in others):
            raise JobError("The trained model is no better than what it is compared with.")


def _comparison_table(figures: dict[str, "Evaluation"]) -> str:
    table = "\n| held out | loss (nats per masked k-mer) | masked k-mer accuracy | hidden base accuracy |\n"
    table += "|---|---|---|---|\n"
    for name, result in figures.items():
        table += f"| {name} | {result.loss:.4f} | {result.accuracy:.4f} | {result.hidden_base_accuracy:.4f} |\n"
    first, *_ = figures.values()
    return f"{table}\n({first.masked_kmers:,} masked k-mers, {first.hidden_bases:,} hidden bases)"


def _try_transformers(model: Path, ours: "SavedModel") -> str:
    """Loads the exported directory with transformers, compares logits and predicts masked k-mers of held-out DNA."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        return (
            "transformers: not installed here, so the exported directory was not loaded with it; "
            f"{install_command('huggingface')}, and run the demo again to see it load."
        )
    import jax
    import numpy as np
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from dnabert_jax.model.backbone import LanguageModel
    from dnabert_jax.model.binding import bind

    letters = next(iter(read_blocks(HELDOUT_FASTA))).letters
    spelled = ours.config.tokenizer
    kmers = [spelled.tokens[number] for number in spelled.encode(base_codes(letters[:_EXAMPLE_BASES]))]
    tokenizer = AutoTokenizer.from_pretrained(model)
    masked_lm = AutoModelForMaskedLM.from_pretrained(model)
    truth = kmers[_MASKED_KMERS]
    kmers[_MASKED_KMERS] = [tokenizer.mask_token] * len(truth)
    batch = tokenizer(" ".join(kmers), return_tensors="pt")
    with torch.no_grad():
        logits = masked_lm(**batch).logits.numpy()
    our_logits = jax.jit(lambda parameters, ids: bind(LanguageModel, parameters, ours.config)(ids))(
        ours.parameters, batch["input_ids"].numpy().astype(np.int32)
    )
    difference = np.abs(np.asarray(our_logits)[..., : logits.shape[-1]] - logits).max()
    predicted = tokenizer.convert_ids_to_tokens(logits[0, 1:-1][_MASKED_KMERS].argmax(-1).tolist())
    return (
        f"transformers: loaded {type(masked_lm).__name__} and {type(tokenizer).__name__} from {model}; "
        f"largest difference of a logit {difference:.1e}; masked {' '.join(truth)}, predicted {' '.join(predicted)}."
    )

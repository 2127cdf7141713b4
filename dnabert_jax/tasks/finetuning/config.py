"""Says what fine-tuning is, has the presets of the paper and of GUE, and names what an observer is told. No JAX."""

import dataclasses
import math
from typing import Literal

from dnabert_jax.config import TokenPooling, require, require_in


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """How a model is fine-tuned. The defaults were chosen on development sets (docs/fine-tuning.md).

    Attributes:
        train: what learns: full, all parameters; lora, low-rank additions to the matrices of attention (Hu et al. 2021,
            arXiv 2106.09685), with pooler and classifier; head, pooler and classifier; probe, the last layer alone, as
            a logistic or ridge regression on the vectors of the frozen model, whose penalty is chosen by the validation
            split.
        start: where the last layer starts: fresh (at zero, or at random on the original's pooler), or at the solution
            of the probe (Kumar et al. 2022, arXiv 2202.10054), which is kept unless an epoch is better.
        pooling: how the hidden states of a sequence become one vector: mean over the tokens, max, mean-max (both side
            by side), a mean whose weights are learned (attention), or cls, the original's pooler on [CLS].
        strands: both, to read each sequence as its reverse complement with probability 1/2 in training and to average
            the logits over both strands afterwards; forward, to read it as it is; auto, both unless the training
            sequences differ from their reverse complements.
        long: how windows over a sequence that is longer than the model takes become one vector: by their mean, their
            max, a mean whose weights are learned (attention), a bidirectional lstm or gru, or side by side
            (concatenation); none if every sequence fits.
        window: tokens of a window, without [CLS] and [SEP]; as many as the model takes if 0.
        overlap: tokens that a window shares with the next; an eighth of a window if not given.
        remat: what of a layer is computed again in the backward pass, to save memory: none, dots (all but products with
            parameters) or full.
        epochs: passes over the training split, at most; if 0, 10, but up to 20 where these make fewer than 500
            updates, and down to 3 where they make more than 1,500.
        batch_size: sequences a step.
        peak_learning_rate: reached at the end of the warm-up; then it falls linearly to 0 at the end of the last epoch.
            If 0, 2e-4 (768 / hidden size)^(2/3), times 3 for lora and 5 for head.
        head_rate: factor on the learning rate of all that is not the encoder.
        warmup_share: of all steps.
        warmup_steps: instead of a share, if above 0.
        max_steps: at which training stops and the learning rate is 0, however few or many epochs these are, as in
            transformers; as many as the epochs have if 0.
        layer_decay: factor on the learning rate from each layer to the one below it.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added to the root of the second moment.
        weight_decay: decoupled; not on biases and LayerNorm scales.
        clip_norm: largest global gradient norm.
        label_smoothing: share of the target that is spread over all labels, of one or of several.
        class_weights: none, or balanced: the loss of a label counts inversely to how often it occurs, where labels
            exclude each other.
        lora_rank: columns of each low-rank factor.
        lora_alpha: scale of the additions, times the rank.
        dropout: rate within the encoder and on the pooled vector; if not given, that of the model, and 0 after a start
            from the probe.
        mask_rate: share of the tokens that training replaces by [MASK], drawn anew at each step, so that the model
            relies less on single tokens; if not given, 0.3, and 0 after a start from the probe.
        select_by: metric of the validation split by which the best epoch is kept; the problem's own if empty.
        patience: epochs without a better validation figure after which a job stops; 0 for never.
        restarts: how often a job that collapsed to one class begins anew with another seed.
        seed: of the first job: the order of sequences, dropout, and what starts at random.
    """

    train: Literal["full", "lora", "head", "probe"] = "full"
    start: Literal["fresh", "probe"] = "fresh"
    pooling: TokenPooling = "mean"
    strands: Literal["auto", "both", "forward"] = "auto"
    long: Literal["none", "mean", "max", "attention", "lstm", "gru", "concatenation"] = "none"
    window: int = 0
    overlap: int | None = None
    remat: Literal["none", "dots", "full"] = "none"
    epochs: int = 0
    batch_size: int = 32
    peak_learning_rate: float = 0.0
    head_rate: float = 5.0
    warmup_share: float = 0.1
    warmup_steps: int = 0
    max_steps: int = 0
    layer_decay: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    lora_rank: int = 8
    lora_alpha: float = 16.0
    dropout: float | None = None
    mask_rate: float | None = None
    select_by: str = ""
    patience: int = 0
    restarts: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "batch_size", "lora_rank")
        require_in(self, 0, math.inf, "epochs", "peak_learning_rate", "epsilon", "weight_decay", "patience", "restarts")
        require_in(self, 0, math.inf, "warmup_steps", "max_steps", "window")
        # Of 32 bits on the device, those of restarts too.
        require_in(self, 0, 2**30, "seed")
        require_in(self, 0, 1, "beta1", "beta2", "warmup_share", "label_smoothing")
        for name in ("head_rate", "clip_norm", "lora_alpha"):
            require(0 < getattr(self, name) < math.inf, f"{name} is {getattr(self, name)}: it must be above 0.")
        require(0 < self.layer_decay <= 1, f"layer_decay is {self.layer_decay}: it must lie in (0, 1].")
        for name, limit in (("overlap", math.inf), ("dropout", 1), ("mask_rate", 1)):
            if getattr(self, name) is not None:
                require_in(self, 0, limit, name)
        alone = self.long == "none" and (self.window > 0 or self.overlap is not None)
        require(not alone, "window and overlap are of long sequences: give --long too.")
        if "probe" in (self.train, self.start):
            self.check_probe()

    def check_probe(self) -> None:
        """Raises InputError if the vector of a sequence depends on more than the frozen model."""
        frozen = self.long in ("none", "mean", "max")
        require(frozen, f"A probe reads one vector of a sequence: give --long mean or max instead of {self.long}.")
        if self.train == "probe":
            require(self.pooling != "attention", "A probe learns no weights of tokens: give another --pooling.")

    def resolved(self, hidden_size: int) -> "FinetuneConfig":
        """Returns the same with what follows for a network of this width: learning rate, restarts, dropout, masks."""
        # The probe was fitted to vectors of whole sequences, and features that hardly vary may have large weights.
        dropout, mask_rate = (0.0, 0.0) if self.start == "probe" else (None, 0.3)
        # For 768 features the rate of DNABERT's README. Narrow networks need larger steps: of 64 features, 1e-3.
        factor = {"full": 1.0, "lora": 3.0, "head": 5.0, "probe": 1.0}[self.train]
        rate = float(f"{factor * 2e-4 * (768 / hidden_size) ** (2 / 3):.2g}")
        return dataclasses.replace(
            self,
            peak_learning_rate=self.peak_learning_rate or rate,
            # A probe has no other seed to begin anew with.
            restarts=0 if self.train == "probe" else self.restarts,
            dropout=dropout if self.dropout is None else self.dropout,
            mask_rate=mask_rate if self.mask_rate is None else self.mask_rate,
        )

    @property
    def of_a_step(self) -> "FinetuneConfig":
        """Returns the same without what the host alone reads: runs that agree in it share their compiled functions."""
        return dataclasses.replace(self, **{name: getattr(FinetuneConfig, name) for name in _OF_THE_HOST})

    def epochs_of(self, examples: int) -> int:
        """Returns the passes over so many training sequences: those given, or 10.

        A small set is passed over up to 20 times, until it makes 500 updates; one that makes more than 1,500 updates
        down to 3 times.
        """
        updates = -(-examples // self.batch_size)
        fewest, most = (min(max(-(-count // updates), 3), 20) for count in (500, 1500))
        return self.epochs or min(max(10, fewest), most)

    def total_steps(self, examples: int) -> int:
        """Returns the updates of a job that learns from so many sequences, if nothing stops it sooner."""
        if self.train == "probe":
            return 0
        return self.max_steps or self.epochs_of(examples) * -(-examples // self.batch_size)

    def learning_rate(self, step: int, steps: int) -> float:
        """Returns the rate of the update after `step` others of `steps`, as transformers' linear schedule has it."""
        warmup = self.warmup_steps or round(self.warmup_share * steps)
        if step < warmup:
            return self.peak_learning_rate * step / warmup
        return self.peak_learning_rate * max(0.0, (steps - step) / max(1, steps - warmup))


class FittingObserver:
    """Is told how a fine-tuning, or a suite of them, goes on, for a progress bar; this one shows nothing."""

    def stepped(self, done: int, total: int) -> None:
        """`done` more steps of lockstep are made, of `total` at most; many at once where a run is resumed."""

    def epoch_ended(self, job: str, epoch: int, loss: float, figure: float) -> None:
        """A job made an epoch; epoch 0, which has no loss, is where it starts, if that is measured."""

    def restarted(self, job: str, seed: int) -> None:
        """A job collapsed and restarts with another seed."""

    def advanced(self, what: str, done: int, total: int) -> None:
        """Part of what follows the training was done, of `total`: sequences predicted, or resamples measured."""

    def ended(self, failure: str = "") -> None:
        """A set of a suite has its result by a method, or has none for this reason."""


_OF_THE_HOST = (
    "epochs", "peak_learning_rate", "warmup_share", "warmup_steps", "max_steps", "label_smoothing", "class_weights",
    "select_by", "patience", "restarts", "seed",
)  # fmt: skip

_ORIGINAL = FinetuneConfig(pooling="cls", strands="forward", head_rate=1.0, mask_rate=0.0)

FINETUNE_PRESETS: dict[str, FinetuneConfig] = {
    "default": FinetuneConfig(),
    # README.md of github.com/jerryji1993/DNABERT, "Fine-tune with pre-trained model" (prom-core, k = 6).
    "dnabert": dataclasses.replace(_ORIGINAL, peak_learning_rate=2e-4, epochs=5),
    # finetune/scripts/run_dnabert1.sh of github.com/MAGICS-LAB/DNABERT_2; epochs are the task's: 3 for most.
    "gue": dataclasses.replace(_ORIGINAL, peak_learning_rate=3e-5, epochs=3, warmup_share=0.03),
}

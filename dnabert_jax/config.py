"""What a model and a run are: frozen dataclasses.

A run's configuration is saved with its checkpoints and reloads from there (`typed_json`). Unknown or contradictory
values fail here, at the start, with a sentence. No JAX is imported.
"""

import dataclasses
import functools
import math
from typing import Literal

from dnabert_jax.errors import InputError
from dnabert_jax.problems import KINDS, Kind
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.tokenizers import make_tokenizer
from dnabert_jax.sequence.windows import Windows

Problem = Literal["single_label_classification", "multi_label_classification", "regression"]

TokenPooling = Literal["cls", "mean", "max", "mean-max", "attention"]
Strands = Literal["forward", "both"]

_VOCABULARY_MULTIPLE = 128
"""Embedding rows are padded to a multiple of this, so that they divide over a mesh and fill a TPU's lanes."""


def require_in(owner: object, low: int, high: float | int, *names: str) -> None:
    """Raises InputError unless low <= value < high for each named field; what is not finite is never inside."""
    for name in names:
        value = getattr(owner, name)
        if not low <= value < high:
            limits = f"at least {low:g}" + (f" and below {high:g}" if high < math.inf else "")
            raise InputError(f"{name} is {value}: it must be {limits}.")


def require(condition: bool, message: str) -> None:
    """Raises InputError with the message unless the condition holds."""
    if not condition:
        raise InputError(message)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network. The defaults are those of DNABERT (bert-config-6/config.json of the original).

    Attributes:
        tokens: The name of the tokenizer, which also tells the family of the network; must be that of the data.
        k: Bases of a token, for tokenizers that let one choose; must be that of the data.
        hidden_size: Width of the residual stream.
        num_layers: Transformer layers.
        num_heads: Attention heads; divides hidden_size.
        intermediate_size: Width of the feed-forward layers.
        max_positions: Longest sequence, in tokens with [CLS] and [SEP].
        dropout: Rate on embeddings, attention output and feed-forward output.
        attention_dropout: Rate on attention probabilities.
        layer_norm_epsilon: Added to the variance.
        initializer_range: Standard deviation of initial weights.
        initializer: bert, or mimetic: queries equal keys and positions are sinusoids, so that attention starts
            local (Trockman and Kolter 2023, arXiv 2305.09828), and tokens that share letters begin alike; small models
            then learn much sooner.
        compute_dtype: Of activations; parameters, softmax and LayerNorm statistics are always float32.
        positions: learned, a vector for each that is added to its token's; or rotary, which turns queries and keys (Su
            et al. 2021, arXiv 2104.09864).
        norm: LayerNorm after each block and after the embeddings (post), or before each block and after the last (pre).
        feed_forward: gelu, or swiglu: two products without bias, one of them through the SiLU (Shazeer 2020, arXiv
            2002.05202).
        token_types: Whether BERT's vector of the only token type is added to every token.
        tied_head: Whether the head of masked tokens has the vectors of tokens for its last product, or its own.
        token_dropout: Share of tokens that training replaces by [MASK], if the network compensates for it as ESM does:
            the vector of [MASK] is zero, and the others are scaled by (1 - token_dropout) / (1 - share of [MASK]). 0
            means that it does not.
    """

    tokens: str = "kmers"
    k: int = 6
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    intermediate_size: int = 3072
    max_positions: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_epsilon: float = 1e-12
    initializer_range: float = 0.02
    initializer: Literal["bert", "mimetic"] = "bert"
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    positions: Literal["learned", "rotary"] = "learned"
    norm: Literal["post", "pre"] = "post"
    feed_forward: Literal["gelu", "swiglu"] = "gelu"
    token_types: bool = True
    tied_head: bool = True
    token_dropout: float = 0.0

    def __post_init__(self) -> None:
        _ = self.vocabulary_size  # which refuses an impossible k
        sizes = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions")
        require_in(self, 1, math.inf, *sizes)
        rates = ("dropout", "attention_dropout", "token_dropout")
        require_in(self, 0, 1, *rates, "layer_norm_epsilon", "initializer_range")
        require(
            self.hidden_size % self.num_heads == 0,
            f"hidden_size {self.hidden_size} does not divide over num_heads {self.num_heads}.",
        )
        require(
            self.positions != "rotary" or self.head_size % 2 == 0,
            f"Heads of {self.head_size} numbers have no rotary positions: their size must be even.",
        )

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        return make_tokenizer(self.tokens, self.k)

    @property
    def vocabulary_size(self) -> int:
        """The number of ids that mean something."""
        return self.tokenizer.vocabulary_size

    @property
    def padded_vocabulary_size(self) -> int:
        """Rows of the embedding: vocabulary_size rounded up to a multiple of 128."""
        return -(-self.vocabulary_size // _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE

    @property
    def longest(self) -> int:
        """The tokens of the longest sequence, without special ones."""
        return self.max_positions - self.tokenizer.specials

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.num_heads


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What a head on the pooled vector predicts of a sequence. The defaults are BERT's, those of `long` the original's.

    Attributes:
        problem: one label of several that exclude each other, any number of labels, or numbers.
        labels: names of the outputs, in order.
        dropout: Rate on the pooled vector.
        long: how the pooled vectors of several pieces become one: by a bidirectional lstm or gru (the original's
            dnalong), side by side through one more layer (concatenation, its dnalongcat), or by their mean, their
            max, or a mean whose weights are learned (attention; Ilse et al. 2018, arXiv 1802.04712).
        split: Pieces of a sequence, at most. With windows, those of the longest sequence that the model was trained
            on: only concatenation takes no more.
        window: tokens of a window, without [CLS] and [SEP]. With 0, sequences are cut as the original cuts them,
            without overlap, and an lstm, gru or concatenation reads on through the padding that fills them up to
            `split` pieces.
        overlap: tokens that a window shares with the next.
        num_rnn_layer: Layers of the lstm or gru, as wide as the encoder: the original ignores its rnn_hidden.
        rnn_dropout: Rate between those layers.
        pooling: How the hidden states of a sequence, or of each piece, become one vector: that of [CLS] through a dense
            layer and tanh, as in the original (cls); or a LayerNorm of the mean over tokens, their maximum, both side
            by side (mean-max), or a mean whose weights are learned (attention). All but cls leave out [CLS] and [SEP].
        strands: both if the logits are the mean over a sequence and its reverse complement.
    """

    problem: Problem
    labels: tuple[str, ...]
    dropout: float = 0.1
    long: Literal["none", "lstm", "gru", "concatenation", "mean", "max", "attention"] = "none"
    split: int = 1
    window: int = 0
    overlap: int = 0
    num_rnn_layer: int = 1
    rnn_dropout: float = 0.0
    pooling: TokenPooling = "cls"
    strands: Strands = "forward"

    def __post_init__(self) -> None:
        fewest = 2 if self.kind.exclusive else 1
        require(
            len(set(self.labels)) == len(self.labels) >= fewest and all(self.labels),
            f"The labels are {list(self.labels)}: {self.problem} needs at least {fewest}, none empty, no two the same.",
        )
        require_in(self, 0, 1, "dropout", "rnn_dropout")
        require_in(self, 1, math.inf, "split", "num_rnn_layer")
        require_in(self, 0, math.inf, "window")
        require_in(self, 0, max(self.window, 1), "overlap")
        require(self.long != "none" or self.split == 1, f"split is {self.split}: only with `long` may it be above 1.")
        require(self.long != "none" or not self.window, f"window is {self.window}: only with `long` may it be above 0.")
        require(
            self.long not in ("mean", "max", "attention") or self.window > 0,
            f"window is {self.window}: {self.long} is over windows, which have at least one token.",
        )

    @property
    def kind(self) -> Kind:
        """Returns the object that knows activation, loss, decisions and metrics."""
        return KINDS[self.problem]

    @property
    def positive(self) -> str:
        """The second of two labels that exclude each other; an empty text for other problems."""
        return self.labels[1] if self.kind.exclusive and len(self.labels) == 2 else ""

    @property
    def windows(self) -> Windows | None:
        """How sequences are cut; None for whole ones, and for the original's pieces."""
        return Windows(self.window, self.overlap) if self.window else None

    @property
    def without_names(self) -> "TaskConfig":
        """The same with numbers for labels: what tasks that differ by the names of their labels have in common."""
        return dataclasses.replace(self, labels=tuple(map(str, range(len(self.labels)))))


_ALIKE = 1.25
"""How many times longer or shorter than the training sequences a sequence may be without a warning."""


@dataclasses.dataclass(frozen=True)
class TrainingLengths:
    """Bases of the sequences that a model was fine-tuned on."""

    minimum: int
    median: int
    maximum: int

    def unlike(self, bases: int) -> bool:
        """Returns whether a sequence is too short or too long for the model's results to be reliable."""
        return not self.minimum <= bases * _ALIKE or not bases <= self.maximum * _ALIKE

    def __str__(self) -> str:
        return f"{self.minimum:,}" + (f" to {self.maximum:,}" if self.maximum > self.minimum else "") + " bases"


@dataclasses.dataclass(frozen=True)
class MaskingConfig:
    """Masked-language-model corruption. The defaults are the paper's; the shares 80/10/10 are BERT's.

    Attributes:
        rate: Share of the tokens that spell bases that are to be predicted.
        late_rate: The share from late_from_step on.
        late_from_step: First step with late_rate.
        mask_share: Of the chosen tokens, the share replaced by [MASK].
        random_share: Of the chosen tokens, the share replaced by a random token; the rest stays as it is.
        random_from: A random token is one of all that spell bases, or of all of these except the true one.
    """

    rate: float = 0.15
    late_rate: float = 0.20
    late_from_step: int = 100_000
    mask_share: float = 0.8
    random_share: float = 0.1
    random_from: Literal["all", "others"] = "all"

    def __post_init__(self) -> None:
        for name in ("rate", "late_rate"):
            require(0 < getattr(self, name) < 1, f"The masking {name} is {getattr(self, name)}: it must lie in (0, 1).")
        require(
            self.mask_share >= 0 and self.random_share >= 0 and self.mask_share + self.random_share <= 1,
            f"mask_share {self.mask_share} and random_share {self.random_share} must not be negative nor sum above 1.",
        )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and a decay. The defaults are the paper's recipe.

    Attributes:
        peak_learning_rate: Reached at the end of the warm-up.
        warmup_steps: To the peak.
        schedule_steps: Where a linear decay reaches 0; a run may stop earlier.
        decay: linear, or inverse-sqrt: the peak by the square root of the steps since the start, in warm-ups.
        initial_learning_rate: Where the warm-up begins.
        beta1: Decay of the first moment.
        beta2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        weight_decay: Decoupled; not on biases and LayerNorm scales.
        clip_norm: Largest global gradient norm.
    """

    peak_learning_rate: float = 4e-4
    warmup_steps: int = 10_000
    schedule_steps: int = 200_000
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    decay: Literal["linear", "inverse-sqrt"] = "linear"
    initial_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        require_in(self, 0, math.inf, "warmup_steps", "epsilon", "weight_decay", "initial_learning_rate")
        require(
            self.decay == "linear" or self.warmup_steps > 0,
            "warmup_steps is 0: a decay by the inverse square root is counted in warm-ups, so give at least 1.",
        )
        require_in(self, 0, 1, "beta1", "beta2")
        for name in ("peak_learning_rate", "clip_norm"):
            require(0 < getattr(self, name) < math.inf, f"{name} is {getattr(self, name)}: it must be above 0.")
        require(
            self.warmup_steps < self.schedule_steps,
            f"warmup_steps {self.warmup_steps} must be below schedule_steps {self.schedule_steps}.",
        )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are laid out. Their number is data x fsdp x tensor.

    Attributes:
        data: Groups that share the batch and each hold the whole state; -1 means all devices that the others leave.
        fsdp: Devices of a group that share its rows and each keep and update a part of parameters and moments; -1
            means the largest number up to 16 that divides the devices of a slice; if data is given, all it leaves.
        tensor: Devices that share each layer's heads, feed-forward width and vocabulary.
    """

    data: int = -1
    fsdp: int = -1
    tensor: int = 1

    def __post_init__(self) -> None:
        for name in ("data", "fsdp"):
            size = getattr(self, name)
            require(size == -1 or size >= 1, f"The mesh axis {name} is {size}: give -1 or at least 1.")
        require(self.tensor >= 1, f"The mesh axis tensor is {self.tensor}: give at least 1.")


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """How a step is computed. None of it changes what a step computes, but for rounding, so a resumed run may set it.

    Attributes:
        attention: pallas, a TPU kernel; cudnn, a GPU's fused kernel, which drops no probabilities out; xla, for any
            device; auto: the fastest that the device and the model allow.
        remat: what of a layer is computed again in the backward pass to save memory: none, dots (all but the outputs
            of matrix products), full.
        scan_unroll: layers unrolled in the scan over layers; with all of them there is no scan, which is fastest and
            compiles longest.
        gradient_accumulation: parts in which the batch goes through the model, one after the other.
    """

    attention: Literal["auto", "xla", "pallas", "cudnn"] = "auto"
    remat: Literal["none", "dots", "full"] = "none"
    scan_unroll: int = 1
    gradient_accumulation: int = 1

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "scan_unroll", "gradient_accumulation")


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run.

    Attributes:
        model: The network.
        masking: What is predicted.
        optimizer: How it learns.
        mesh: Over which devices.
        execution: How a step is computed on them.
        global_batch: Rows a step, over all devices; a packed row of 512 tokens holds 1.58 of the paper's sequences.
        steps: Where the run stops.
        initial_checkpoint: Run or model directory whose latest weights the run begins with, as `dnabert-jax import`
            makes one; if empty, they are random.
        seed: Of initial weights, row order, masks and dropout.
        log_every: Steps between lines of the log.
        evaluate_every: Steps between held-out evaluations; the last step is always evaluated.
        evaluation_rows: Held-out rows used, at most.
        checkpoint_every: Steps between checkpoints; the last step is always saved.
        keep_checkpoints: How many of the latest are kept.
    """

    model: ModelConfig = ModelConfig()
    masking: MaskingConfig = MaskingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    execution: ExecutionConfig = ExecutionConfig()
    global_batch: int = 1280
    steps: int = 120_000
    initial_checkpoint: str = ""
    seed: int = 0
    log_every: int = 100
    evaluate_every: int = 1000
    evaluation_rows: int = 2048
    checkpoint_every: int = 1000
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        require_in(self, 1, math.inf, "global_batch", "steps", "log_every", "evaluate_every")
        require_in(self, 1, math.inf, "evaluation_rows", "checkpoint_every", "keep_checkpoints")
        require_in(self, 0, math.inf, "seed")
        require(
            self.steps <= self.optimizer.schedule_steps,
            f"steps {self.steps} is beyond schedule_steps {self.optimizer.schedule_steps}, where the learning rate "
            "is 0: raise --optimizer.schedule-steps.",
        )

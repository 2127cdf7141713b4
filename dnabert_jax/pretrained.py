"""DNABERT in Python: a model from wherever it is, its embeddings and its predictions.

    from dnabert_jax import DNABERT

    model = DNABERT.from_pretrained("models/dnabert6-hg38")
    vectors = model.embed(["ACGTTGCAAGCT", "TTGACGTA"])

B batch, T pieces of a sequence, L tokens, H hidden, C labels.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32
from tqdm import tqdm

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import Architecture, Dtype, Format, export_model
from dnabert_jax.interop.hub import push_directory
from dnabert_jax.interop.load import read_model
from dnabert_jax.model.bound_head import apply_pooler, classify
from dnabert_jax.model.layerwise import LayerwiseEncoder, mean_of_kmers
from dnabert_jax.model.windowed import classify_windows
from dnabert_jax.sequence.buckets import computed_in_order
from dnabert_jax.sequence.kmers import encode
from dnabert_jax.sequence.pieces import cut_into_pieces
from dnabert_jax.sequence.vocabulary import CLS, SEP
from dnabert_jax.storage import Location
from dnabert_jax.training.saved_model import SavedModel

Pooling = Literal["mean", "cls", "pooled", "tokens"]

_PARTS = {"bert": "an encoder", "head": "a head of masked tokens"}
"""What errors call the parts of a model."""

_ANY_NUMBER = 1 << 40
"""Of windows, more than any sequence has."""

_SPECIAL = 2
"""[CLS] and [SEP]."""

TOKENS_ON_CPU, TOKENS_ON_ACCELERATOR = 512, 32_768
"""Of a batch. On a CPU, more tokens make temporary arrays that the allocator gets from the system each time anew."""

_SECONDS_TO_BAR = 3.0
"""What takes less has no progress bar."""


class DNABERT:
    """A model that was trained or imported: made by `from_pretrained`.

    Attributes:
        config: of the network.
        task: of its classifier; None if it has none.
        labels: of its classifier, in the order of the columns of `predict`.
    """

    def __init__(self, model: SavedModel, compute_dtype: Literal["float32", "bfloat16"] = "float32"):
        self._model = model
        self.config: ModelConfig = model.config
        self.task: TaskConfig | None = model.description.task
        self.labels: tuple[str, ...] = self.task.labels if self.task else ()
        self._compute_dtype = compute_dtype

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        step: int | None = None,
        compute_dtype: Literal["float32", "bfloat16"] = "float32",
    ) -> "DNABERT":
        """Reads a model.

        Args:
            source: a run directory, a model directory of `dnabert-jax import`, a Hugging Face directory, or OWNER/NAME
                of a repository on the Hugging Face hub.
            step: which checkpoint of a run; the latest if none is given.
            compute_dtype: of activations, whatever the model was trained in; bfloat16 is for accelerators.

        Raises:
            InputError: it is none of these, has no such step, or is damaged.
            JobError: the hub cannot be reached.
        """
        return cls(read_model(source, step), compute_dtype)

    def encode(self, sequences: str | Iterable[str]) -> Int32[np.ndarray, " tokens"] | list[np.ndarray]:
        """Ids with [CLS] and [SEP], of each sequence, or of one that is given alone.

        Args:
            sequences: raw DNA in any case, or k-mers separated by spaces. A k-mer with an ambiguity letter is [UNK].

        Raises:
            InputError: a sequence is no DNA, or shorter than k.
        """
        if isinstance(sequences, str):
            return self._ids(sequences, "the sequence")
        return [self._ids(sequence, f"sequence {number}") for number, sequence in enumerate(sequences, 1)]

    def embed(
        self, sequences: str | Iterable[str], pooling: Pooling = "mean", layer: int = -1, progress: bool = True
    ) -> Float32[np.ndarray, "*shape"] | list[np.ndarray]:
        """Vectors of sequences, in their order.

        Args:
            sequences: as for `encode`, in any number: they are read a few thousand at a time.
            pooling: mean, of the k-mers' hidden states, [CLS] and [SEP] left out; cls, the hidden state of [CLS];
                pooled, that of the last layer through the pooler; tokens, the hidden state of each k-mer.
            layer: 0 are the embeddings, 1 the first layer, -1 the last.
            progress: shows a bar on standard error if it takes more than a few seconds.

        Returns:
            [N, H]; for tokens a list of [n, H], a sequence of n k-mers each. A sequence that is given alone, as a str,
            has its [H] or [n, H].

        Raises:
            InputError: as for `encode`; or a sequence is longer than the network takes, the layer or the pooler is not
                there.
        """
        if isinstance(sequences, str):
            return self.embed([sequences], pooling, layer, progress)[0]
        layers = self._layers_to_run(pooling, layer)

        def vectors(ids: Int32[np.ndarray, "B L"]) -> Array:
            hidden = self._encoder(ids, layers)
            if pooling == "mean":
                return mean_of_kmers(hidden, ids)
            if pooling == "pooled":
                return apply_pooler(self.config, self.task, self._head, hidden)
            return (hidden if pooling == "tokens" else hidden[:, 0]).astype(jnp.float32)

        computed = self._computed(sequences, self._within_limit, vectors, progress)
        if pooling == "tokens":
            return [row[1 : len(ids) - 1] for ids, row in computed]
        return _stacked(computed, self.config.hidden_size, sequences)

    def predict(self, sequences: str | Iterable[str], progress: bool = True) -> Float32[np.ndarray, "*shape"]:
        """What the classifier says of sequences, in their order.

        Args:
            sequences: as for `encode`, in any number.
            progress: shows a bar on standard error if it takes more than a few seconds.

        Returns:
            [N, C], or [C] for a sequence that is given alone, as a str: probabilities of `labels`, which sum to 1 if
            they exclude each other; predicted numbers for a regression.

        Raises:
            InputError: as for `encode`; or a sequence is longer than the network takes, or it has no classifier.
        """
        if isinstance(sequences, str):
            return self.predict([sequences], progress)[0]
        task = self.task
        if task is None:
            raise InputError(f"predict needs a classifier: the model has {self._parts()}. To embed, use embed.")

        def probabilities(ids: Int32[np.ndarray, "B tokens"]) -> Array:
            if task.windows is not None:
                return classify_windows(self.config, task, self._encoder, self._head, ids, _tokens())
            hidden = self._encoder(ids.reshape(len(ids) * task.split, -1), self.config.num_layers)
            return classify(self.config, task, self._head, hidden)

        prepare = self._within_limit if task.long == "none" else self._cut
        pieces = task.split if task.windows is None else _ANY_NUMBER
        computed = self._computed(sequences, prepare, probabilities, progress, pieces)
        return _stacked(computed, len(task.labels), sequences)

    def save_pretrained(
        self,
        directory: Location,
        architecture: Architecture | None = None,
        file_format: Format = "safetensors",
        dtype: Dtype = "float32",
    ) -> None:
        """Writes a directory that transformers and `from_pretrained` load; see `interop.export.export_model`.

        Raises:
            InputError: the directory exists, or the model cannot be written so.
        """
        export_model(self._model, directory, architecture, file_format, dtype)

    def push_to_hub(self, repository: str, private: bool = False, dtype: Dtype = "float32") -> str:
        """Uploads what `save_pretrained` writes to OWNER/NAME on the Hugging Face hub; returns its address.

        Raises:
            InputError: huggingface_hub is not installed, or the model cannot be written so.
            JobError: the hub cannot be reached, or does not let you.
        """
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "model"
            self.save_pretrained(directory, dtype=dtype)
            return push_directory(directory, repository, private)

    @functools.cached_property
    def _encoder(self) -> LayerwiseEncoder:
        return LayerwiseEncoder(self._config_to_compute, self._model.parameters["bert"])

    @functools.cached_property
    def _head(self) -> Any:
        """The parameters of all that stands on the encoder, but the head of masked tokens."""
        apart = ("bert", "head")
        return jax.device_put({part: tree for part, tree in self._model.parameters.items() if part not in apart})

    @property
    def _config_to_compute(self) -> ModelConfig:
        return dataclasses.replace(self.config, compute_dtype=self._compute_dtype)

    def _layers_to_run(self, pooling: str, layer: int) -> int:
        """How many layers `embed` needs."""
        if pooling not in ("mean", "cls", "pooled", "tokens"):
            raise InputError(f"pooling is {pooling!r}: it must be mean, cls, pooled or tokens.")
        count = self.config.num_layers
        if not -count - 1 <= layer <= count:
            raise InputError(f"layer is {layer}: the model has 0 (the embeddings) to {count}, or -{count + 1} to -1.")
        layers = layer % (count + 1)
        if pooling == "pooled" and "pooler" not in self._model.parameters:
            raise InputError(f'pooling "pooled" needs a pooler: the model has {self._parts()}.')
        if pooling == "pooled" and layers != count:
            raise InputError(f"layer is {layer}: the pooler takes the last one alone.")
        return layers

    def _ids(self, sequence: Any, name: str) -> Int32[np.ndarray, " tokens"]:
        return np.concatenate([[CLS], self._kmers(sequence, name), [SEP]]).astype(np.int32)

    def _kmers(self, sequence: Any, name: str) -> np.ndarray:
        if not isinstance(sequence, str):
            raise InputError(f"{name} is {type(sequence).__name__} {sequence!r:.40}: it must be a str.")
        return encode(sequence, self.config.k, name)

    def _within_limit(self, sequence: Any, name: str) -> np.ndarray:
        """Ids of a sequence that the network takes whole."""
        ids = self._ids(sequence, name)
        self._check_length(len(ids) - _SPECIAL, self.config.max_positions - _SPECIAL, name)
        return ids

    def _cut(self, sequence: Any, name: str) -> np.ndarray:
        """Ids of a sequence for a model of long ones: its pieces, or windows, end to end."""
        kmers, length = self._kmers(sequence, name), self.config.max_positions
        split = self.task.split if self.task else 1
        if self.task is not None and self.task.windows is not None:
            if self.task.long == "concatenation":
                self._check_length(len(kmers), self.task.windows.kmers(split), name)
            return self.task.windows.cut(kmers.astype(np.int32)).reshape(-1)
        self._check_length(len(kmers), split * (length - _SPECIAL), name)
        return cut_into_pieces(kmers.astype(np.int32), split, length).reshape(-1)

    def _check_length(self, kmers: int, limit: int, name: str) -> None:
        if kmers > limit:
            raise InputError(
                f"{name} has {kmers:,} k-mers: the model takes at most {limit:,}, of {limit + self.config.k - 1:,} "
                "bases. Cut it into shorter ones."
            )

    def _parts(self) -> str:
        return " and ".join(_PARTS.get(part, f"a {part}") for part in self._model.parameters)

    def _computed(
        self,
        sequences: Iterable[str],
        prepare: Callable[[Any, str], np.ndarray],
        compute: Callable[[np.ndarray], Array],
        progress: bool,
        pieces: int = 1,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and result of each sequence, in order.

        Args:
            sequences: any number.
            prepare: makes the ids of a sequence, given it and what to call it.
            compute: padded ids to a row of results each.
            progress: shows a bar.
            pieces: of a sequence, each as long as the network takes.
        """
        ids = (prepare(sequence, f"sequence {number}") for number, sequence in enumerate(sequences, 1))
        total = len(sequences) if isinstance(sequences, Sized) else None
        longest = self.config.max_positions * pieces
        with tqdm(total=total, unit=" sequences", delay=_SECONDS_TO_BAR, disable=not progress) as bar:
            yield from computed_in_order(ids, longest, _tokens(), compute, bar.update)


def _stacked(
    computed: Iterator[tuple[np.ndarray, np.ndarray]], width: int, sequences: Iterable[str]
) -> Float32[np.ndarray, "N W"]:
    """The results as one array, made once where the number of sequences is known."""
    rows = (row for _, row in computed)
    return np.fromiter(rows, np.dtype((np.float32, width)), len(sequences) if isinstance(sequences, Sized) else -1)


def _tokens() -> int:
    """Of a batch."""
    return TOKENS_ON_CPU if jax.local_devices()[0].platform == "cpu" else TOKENS_ON_ACCELERATOR

"""DNA language models in Python: a model from wherever it is, its embeddings and its predictions.

    from dnabert_jax import DNAModel

    model = DNAModel.from_pretrained("models/dnabert6-hg38")
    vectors = model.embed(["ACGTTGCAAGCT", "TTGACGTA"])

`embed` and `predict` take texts and give arrays. They stand on `embeddings` and `predictions`, which take codes of
bases too, and give one result after the other, whatever their number.
B batch, L tokens, H hidden, C labels.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from dnabert_jax import stream
from dnabert_jax.config import ModelConfig, Strands, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.families import family_of
from dnabert_jax.families.family import Architecture
from dnabert_jax.interop.export import Dtype, Format, export_model
from dnabert_jax.interop.hub import push_directory
from dnabert_jax.interop.load import read_model
from dnabert_jax.model.bound_head import apply_pooler, classify, classify_windows
from dnabert_jax.model.layerwise import LayerwiseEncoder, mean_of_kmers
from dnabert_jax.sequence.windows import cut_into_pieces
from dnabert_jax.storage import Location, scratch_directory
from dnabert_jax.stream import Codes, Named, Result
from dnabert_jax.training.saved_model import SavedModel, training_lengths

Pooling = Literal["mean", "cls", "pooled", "tokens", "bases"]
ComputeDtype = Literal["float32", "bfloat16"]

BY_POSITION: tuple[Pooling, ...] = ("tokens", "bases")
"""Poolings that give a sequence as many vectors as it has tokens, or bases."""

_PARTS = {"backbone": "an encoder", "head": "a head of masked tokens"}
"""What errors call the parts of a model."""

_BYTES_BY_POSITION = 1 << 28
"""Of vectors of tokens in memory at a time, where sequences come one after the other."""


class DNAModel:
    """A model that was trained or imported: made by `from_pretrained`.

    Attributes:
        config: of the network.
        tokenizer: of its sequences.
        task: of its classifier; None if it has none.
        labels: of its classifier, in the order of the columns of `predict`.
        training_lengths: of the sequences that it was fine-tuned on; None if they are not known.
    """

    def __init__(self, model: SavedModel, compute_dtype: Literal["float32", "bfloat16"] = "float32", source: str = ""):
        self._model = model
        self._source = source
        self.config: ModelConfig = model.config
        self.tokenizer = model.config.tokenizer
        self.task: TaskConfig | None = model.description.task
        self.labels: tuple[str, ...] = self.task.labels if self.task else ()
        self.training_lengths = training_lengths(model.description.provenance)
        self._compute_dtype = compute_dtype

    @classmethod
    def from_pretrained(
        cls, source: str | Path, step: int | None = None, compute_dtype: ComputeDtype = "float32"
    ) -> "DNAModel":
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
        return cls(read_model(source, step), compute_dtype, str(source))

    def __repr__(self) -> str:
        return f"DNAModel({self._model.description_line()}{self._source and f', from {self._source!r}'})"

    def encode(self, sequences: str | Iterable[str]) -> Int32[np.ndarray, " tokens"] | list[np.ndarray]:
        """Returns published ids, with those of special tokens, of each sequence or of one that is given alone.

        Args:
            sequences: raw DNA in any case, or k-mers separated by spaces. A k-mer with an ambiguity letter is [UNK].

        Raises:
            InputError: a sequence is no DNA, or shorter than k.
        """
        published = family_of(self.config).published_ids(self.config).astype(np.int32)
        if isinstance(sequences, str):
            return published[self._ids(self.tokenizer.parse(sequences), "the sequence")]
        coded = stream.coded((("", sequence) for sequence in sequences), self.tokenizer)
        return [published[self._ids(sequence.codes, sequence.place)] for sequence in coded]

    def embed(
        self, sequences: str | Iterable[str], pooling: Pooling = "mean", layer: int = -1, progress: bool = True
    ) -> Float32[np.ndarray, "*shape"] | list[np.ndarray]:
        """Vectors of sequences, in their order.

        Args:
            sequences: as for `encode`, in any number: they are read a few thousand at a time.
            pooling: mean, of the tokens' hidden states, [CLS] and [SEP] left out; cls, the hidden state of [CLS];
                pooled, that of the last layer through the pooler; tokens, the hidden state of each of them; bases, for
                each base the mean of those of the tokens that cover it.
            layer: 0 are the embeddings, 1 the first layer, -1 the last.
            progress: shows a bar on standard error if it takes more than a few seconds.

        Returns:
            [N, H]; for tokens and bases a list of [n, H], a sequence of n tokens or bases each. A sequence that is
            given alone, as a str, has its [H] or [n, H].

        Raises:
            InputError: as for `encode`; or a sequence is longer than the network takes, the layer or the pooler is not
                there.
        """
        if isinstance(sequences, str):
            return self.embed([sequences], pooling, layer, progress)[0]
        with stream.bar(sequences, progress) as bar:
            found = self.embeddings((("", sequence) for sequence in sequences), pooling, layer, bar.update)
            if pooling in BY_POSITION:
                return [vectors for _, vectors in found]
            return stream.stacked(found, self.config.hidden_size, sequences)

    def embeddings(
        self,
        sequences: Iterable[Named],
        pooling: Pooling = "mean",
        layer: int = -1,
        advance: Callable[[int], object] | None = None,
    ) -> Iterator[Result]:
        """Yields name and vectors of each sequence as `embed` does, in their order and in constant memory.

        Args:
            sequences: (name, text or codes) of each; errors call them by number and name, which may be empty.
            advance: if given, told how many more sequences are done.
        """
        layers, by_position = self._layers_to_run(pooling, layer), pooling in BY_POSITION

        def vectors(ids: Int32[np.ndarray, "B L"]) -> Array:
            hidden = self.encoder(ids, layers)
            if pooling == "mean":
                return mean_of_kmers(hidden, ids)
            if pooling == "pooled":
                return apply_pooler(self.config, self.task, self.on_encoder, hidden, ids)
            return (hidden if by_position else hidden[:, 0]).astype(jnp.float32)

        most = _BYTES_BY_POSITION // (4 * self.config.hidden_size) if by_position else None
        own = stream.coded(sequences, self.tokenizer)
        found = stream.computed(own, self.ids_within_limit, vectors, self.config.max_positions, advance, most)
        if not by_position:
            return ((sequence.name, row) for sequence, _, row in found)
        of_tokens = ((each.name, ids, self.tokenizer.content(len(ids)), row) for each, ids, row in found)
        if pooling == "tokens":
            return ((name, row[content]) for name, _, content, row in of_tokens)
        return ((name, self.tokenizer.mean_over_bases(row[part], ids[part])) for name, ids, part, row in of_tokens)

    def predict(
        self, sequences: str | Iterable[str], progress: bool = True, strands: Strands | None = None
    ) -> Float32[np.ndarray, "*shape"]:
        """What the classifier says of sequences, in their order.

        Args:
            sequences: as for `encode`, in any number.
            progress: shows a bar on standard error if it takes more than a few seconds.
            strands: forward, the sequence as it is; both, the mean of the logits over it and its reverse complement;
                as the model was trained if not given.

        Returns:
            [N, C], or [C] for a sequence that is given alone, as a str: probabilities of `labels`, which sum to 1 if
            they exclude each other; predicted numbers for a regression.

        Raises:
            InputError: as for `encode`; or a sequence is longer than the network takes, or it has no classifier.
        """
        if isinstance(sequences, str):
            return self.predict([sequences], progress, strands)[0]
        with stream.bar(sequences, progress) as bar:
            found = self.predictions((("", sequence) for sequence in sequences), strands, bar.update)
            return stream.stacked(found, len(self.labels), sequences)

    def predictions(
        self,
        sequences: Iterable[Named],
        strands: Strands | None = None,
        advance: Callable[[int], object] | None = None,
    ) -> Iterator[Result]:
        """Yields name and probabilities of each sequence as `predict` does; sequences are as for `embeddings`."""
        task = self.task
        if task is None:
            raise InputError(f"predict needs a classifier: the model has {self._parts()}. To embed, use embed.")
        strands = strands or task.strands
        if strands not in ("forward", "both"):
            raise InputError(f"strands is {strands!r}: it must be forward or both.")

        def logits(ids: Int32[np.ndarray, "B tokens"]) -> Array:
            if task.windows is not None:
                return classify_windows(self.config, task, self.encoder, self.on_encoder, ids, stream.tokens_together())
            pieces = ids.reshape(len(ids) * task.split, -1)
            return classify(self.config, task, self.on_encoder, self.encoder(pieces, self.config.num_layers), pieces)

        prepare = self.ids_within_limit if task.long == "none" else self._cut
        most_pieces = task.split if task.windows is None else 1 << 40  # windows, more than any sequence has
        own, longest = stream.coded(sequences, self.tokenizer), self.config.max_positions * most_pieces
        if strands == "both":
            own, advance = stream.both_strands(own), advance and stream.of_strands(advance)
        results = stream.computed(own, prepare, logits, longest, advance)
        found = ((sequence.name, row) for sequence, _, row in results)
        merged = found if strands == "forward" else stream.mean_of_strands(found)
        return ((name, task.kind.probabilities(row)) for name, row in merged)

    def save_pretrained(
        self,
        directory: Location,
        architecture: Architecture | None = None,
        file_format: Format = "safetensors",
        dtype: Dtype = "float32",
    ) -> None:
        """Writes a directory that transformers and `from_pretrained` load; see `interop.export.export_model`."""
        export_model(self._model, directory, architecture, file_format, dtype)

    def push_to_hub(self, repository: str, private: bool = False, dtype: Dtype = "float32") -> str:
        """Uploads what `save_pretrained` writes to OWNER/NAME on the Hugging Face hub; returns its address.

        Raises:
            InputError: huggingface_hub is not installed, or the model cannot be written so.
            JobError: the hub cannot be reached, or does not let you.
        """
        with scratch_directory() as scratch:
            directory = scratch / "model"
            self.save_pretrained(directory, dtype=dtype)
            return push_directory(directory, repository, private)

    @functools.cached_property
    def encoder(self) -> LayerwiseEncoder:
        config = dataclasses.replace(self.config, compute_dtype=self._compute_dtype)
        return LayerwiseEncoder(config, self._model.parameters["backbone"])

    @functools.cached_property
    def on_encoder(self) -> Any:
        """The parameters of all that stands on the encoder, but the head of masked tokens."""
        apart = ("backbone", "head")
        return jax.device_put({part: tree for part, tree in self._model.parameters.items() if part not in apart})

    @functools.cached_property
    def masked_lm(self) -> tuple[Any, Array] | None:
        """The parameters of the head of masked tokens, and the table of token vectors that it shares; None without."""
        own = self._model.parameters
        return jax.device_put((own["head"], own["backbone"]["embeddings"]["token"]["table"])) if "head" in own else None

    def _layers_to_run(self, pooling: str, layer: int) -> int:
        """How many layers `embed` needs."""
        if pooling not in ("mean", "cls", "pooled", "tokens", "bases"):
            raise InputError(f"pooling is {pooling!r}: it must be mean, cls, pooled, tokens or bases.")
        count = self.config.num_layers
        if not -count - 1 <= layer <= count:
            raise InputError(f"layer is {layer}: the model has 0 (the embeddings) to {count}, or -{count + 1} to -1.")
        layers = layer % (count + 1)
        if pooling == "pooled" and "pooler" not in self._model.parameters:
            raise InputError(f'pooling "pooled" needs a pooler: the model has {self._parts()}.')
        if pooling == "pooled" and layers != count:
            raise InputError(f"layer is {layer}: the pooler takes the last one alone.")
        return layers

    def _ids(self, codes: Codes, name: str) -> Int32[np.ndarray, " tokens"]:
        return self.tokenizer.framed(self._content(codes, name)).astype(np.int32)

    def _content(self, codes: Codes, name: str) -> np.ndarray:
        self.tokenizer.check_length(len(codes), name)
        return self.tokenizer.encode(codes)

    def ids_within_limit(self, codes: Codes, name: str) -> np.ndarray:
        """Ids of a sequence that the network takes whole."""
        ids = self._ids(codes, name)
        self._check_length(len(ids) - self.tokenizer.specials, self.config.longest, name)
        return ids

    def _cut(self, sequence: Any, name: str) -> np.ndarray:
        """Ids of a sequence for a model of long ones: its pieces, or windows, end to end."""
        content, length = self._content(sequence, name), self.config.max_positions
        split = self.task.split if self.task else 1
        if self.task is not None and self.task.windows is not None:
            if self.task.long == "concatenation":
                self._check_length(len(content), self.task.windows.kmers(split), name)
            return self.task.windows.cut(content.astype(np.int32), self.tokenizer.suffix).reshape(-1)
        self._check_length(len(content), split * self.config.longest, name)
        return cut_into_pieces(content.astype(np.int32), split, length).reshape(-1)

    def _check_length(self, tokens: int, limit: int, name: str) -> None:
        if tokens > limit:
            unit, bases = self.tokenizer.unit, self.tokenizer.capacity(limit)
            raise InputError(f"{name} has {tokens:,} {unit}. The model takes at most {limit:,}, of {bases:,} bases.")

    def _parts(self) -> str:
        return " and ".join(_PARTS.get(part, f"a {part}") for part in self._model.parameters)


DNABERT = DNAModel
"""Another name of the class, from when there was one family."""

"""Named sequences through a network, one result after the other: in their order, and in constant memory.

B batch, L tokens, N sequences, W values of a result.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8
from tqdm import tqdm

from dnabert_jax.errors import InputError
from dnabert_jax.numerics import fixed_settings
from dnabert_jax.sequence.bases import reverse_complement
from dnabert_jax.sequence.buckets import computed_in_order
from dnabert_jax.sequence.tokenizer import Tokenizer

Codes = UInt8[np.ndarray, " _"]

Named = tuple[str, str | Codes] | tuple[str, str | Codes, tuple[str, ...]]
"""The name of a sequence, which may be empty, and its text or its codes, as of `sequence.bases.base_codes`.

Fields that come along behind them, such as columns of a table, are passed over.
"""

Result = tuple[str, Float32[np.ndarray, "..."]]
"""Name and result of a sequence."""

TOKENS_ON_CPU, TOKENS_ON_ACCELERATOR = 512, 32_768
"""Of a batch. On a CPU, more tokens make temporary arrays that the allocator gets from the system each time anew."""

_SECONDS_TO_BAR = 3.0
"""What takes less has no progress bar."""


class Coded(NamedTuple):
    """A sequence as codes.

    Attributes:
        place: what errors call it.
        codes: as of `base_codes`.
    """

    name: str
    place: str
    codes: Codes


def coded(sequences: Iterable[tuple[Any, ...]], tokenizer: Tokenizer) -> Iterator[Coded]:
    """Yields the codes of each sequence; raises InputError if it is neither codes nor text of DNA."""
    for number, (name, sequence, *_) in enumerate(sequences, 1):
        place = f"sequence {number:,} ({name})" if name else f"sequence {number}"
        if isinstance(sequence, np.ndarray):
            yield Coded(name, place, sequence)
        elif isinstance(sequence, str):
            yield Coded(name, place, tokenizer.parse(sequence, place))
        else:
            raise InputError(f"{place} is {type(sequence).__name__} {sequence!r:.40}: it must be a str.")


def computed(
    sequences: Iterable[Coded],
    prepare: Callable[[Codes, str], Int32[np.ndarray, " tokens"]],
    compute: Callable[[Int32[np.ndarray, "B L"]], Array],
    longest: int,
    advance: Callable[[int], object] | None = None,
    most_tokens: int | None = None,
    lengths: dict[int, int] | None = None,
) -> Iterator[tuple[Coded, Int32[np.ndarray, " tokens"], np.ndarray]]:
    """Yields each sequence, its ids and its result, in order.

    Args:
        prepare: makes the ids of a sequence, given its codes and what errors call it.
        compute: padded ids to a row of results each.
        longest: ids that there may be of a sequence.
        lengths: as for `computed_in_order`, of many sequences of few lengths. On a CPU their padding costs more than a
            compilation; an accelerator, where it is the other way round, keeps to the lengths of buckets.
    """
    waiting, read = itertools.tee(sequences)
    ids = (prepare(sequence.codes, sequence.place) for sequence in read)
    results = computed_in_order(
        ids, longest, tokens_together(), fixed_settings()(compute), advance or (lambda _: None), most_tokens,
        lengths if _on_cpu() else None,
    )  # fmt: skip
    # The results first: they read ahead, and what they read is kept until its turn.
    return ((sequence, *result) for result, sequence in zip(results, waiting, strict=True))


def tokens_together() -> int:
    """Returns the number of tokens to put in one batch on this device."""
    return TOKENS_ON_CPU if _on_cpu() else TOKENS_ON_ACCELERATOR


def _on_cpu() -> bool:
    return jax.local_devices()[0].platform == "cpu"


def both_strands(sequences: Iterable[Coded]) -> Iterator[Coded]:
    """Yields each sequence and then its reverse complement."""
    for sequence in sequences:
        yield sequence
        yield sequence._replace(codes=reverse_complement(sequence.codes))


def mean_of_strands(results: Iterable[Result]) -> Iterator[Result]:
    """Yields the means of the results of `both_strands`."""
    strands = iter(results)
    for (name, forward), (_, reverse) in zip(strands, strands, strict=True):
        yield name, (forward + reverse) / 2


def of_strands(advance: Callable[[int], object]) -> Callable[[int], object]:
    """Returns a function to call with the number of strands that are done, two of each sequence."""
    halves = itertools.cycle((0, 1))
    return lambda count: advance(sum(itertools.islice(halves, count)))


def stacked(results: Iterable[Result], width: int, sequences: Iterable[Any]) -> Float32[np.ndarray, "N W"]:
    """Returns the results as one array, made once where the number of sequences is known."""
    count = len(sequences) if isinstance(sequences, Sized) else -1
    return np.fromiter((row for _, row in results), np.dtype((np.float32, width)), count)


def bar(sequences: Iterable[Any], progress: bool) -> tqdm:
    """Returns a progress bar over sequences, which may be off."""
    total = len(sequences) if isinstance(sequences, Sized) else None
    return tqdm(total=total, unit=" sequences", delay=_SECONDS_TO_BAR, disable=not progress)

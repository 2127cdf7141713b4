"""Counts and lists the records that a command leaves out; it is an error if nothing remains."""

import dataclasses
from collections import Counter

from dnabert_jax.errors import InputError
from dnabert_jax.io.text import valid_unicode

BEYOND = "they reach beyond the ends of their contig"
"""Why intervals and windows are left out."""

_EXAMPLES = 3


def too_short(shortest: int) -> str:
    """Returns why sequences of fewer bases than a model can read are left out."""
    return f"they have fewer than {shortest} bases"


@dataclasses.dataclass
class LeftOut:
    """Records of the input that a command cannot use, counted by reason.

    Attributes:
        examples: the first few records of each reason, as "line 7 of x.bed (chrUn)".
        remarks: sentences on what is unusual about the input, each once.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def add(self, reason: str, *examples: str, count: int = 1) -> None:
        """Counts records; `reason` completes "Left out because ..."."""
        self.counts[reason] += count
        listed = self.examples.setdefault(reason, [])
        for example in examples:
            if example and len(listed) < _EXAMPLES and example not in listed:
                listed.append(example)

    def update(self, other: "LeftOut") -> None:
        """Takes up what another one holds."""
        for reason, count in other.counts.items():
            self.add(reason, *other.examples.get(reason, ()), count=count)
        for sentence in other.remarks:
            self.remark(sentence)

    def remark(self, sentence: str) -> None:
        """Takes up a sentence that is to be said once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    @property
    def total(self) -> int:
        return self.counts.total()

    def sentences(self) -> list[str]:
        """Returns the remarks, and one sentence for each reason, the most frequent first, with examples."""
        return self.remarks + self._reasons()

    def _reasons(self) -> list[str]:
        sentences = []
        for reason, count in (+self.counts).most_common():
            examples = [valid_unicode(example) for example in self.examples.get(reason, [])]
            more = ", ..." if count > len(examples) else ""
            listed = f" ({', '.join(examples)}{more})" if examples else ""
            sentences.append(f"Left out because {reason}: {count:,}{listed}.")
        return sentences

    def check_some_left(self, used: int, what: str, advice: str = "") -> None:
        """Raises InputError if no record was used."""
        if not used:
            total = f"none of the {self.total:,} {what} can be used" if self.total else f"there are no {what}"
            raise InputError(" ".join([f"{total[0].upper()}{total[1:]}.", *self._reasons(), advice]).strip())

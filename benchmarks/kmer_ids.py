"""Ids of tokens from bases: this project, for two families, beside the tokenizers that users of DNABERT run.

    python -m benchmarks.kmer_ids --fasta chrX.fa.gz

Every way starts from what it would have in memory: this project and one other from ASCII bases, the other tokenizers
from k-merised text (whose making is not counted). This project is timed on all the bases given, the tokenizers on as
many as they manage in a few seconds. All ids of k-mers are compared first.
"""

import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.alternation import compare, flags
from dnabert_jax.families.kmer_files import write_tokenizer
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.sequence.six_mers import SixMerTokenizer

_WINDOW = 510
_WINDOWS_FOR_TOKENIZERS = 400
_RAW = ", raw DNA"


def main() -> None:
    """Prints the table."""
    parser = flags(__doc__)
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--k", type=int, default=6)
    arguments = parser.parse_args()
    k, tokenizer = arguments.k, KmerTokenizer(arguments.k)
    blocks = [block.letters for block in read_blocks(arguments.fasta)]
    certain = next(b for b in blocks if not np.isin(b, np.frombuffer(b"Nn", np.uint8)).any())
    count = min(_WINDOWS_FOR_TOKENIZERS, len(certain) // _WINDOW)
    windows = [certain[i * _WINDOW : (i + 1) * _WINDOW].tobytes().decode().upper() for i in range(count)]
    texts = [split_kmers(window, k) for window in windows]
    expected = [tokenizer.encode(base_codes(window.encode())).tolist() for window in windows]

    name = "this project: base_codes, KmerTokenizer.encode"
    ways: dict[str, Callable[[], object]] = {name: lambda: [tokenizer.encode(base_codes(block)) for block in blocks]}
    six_mers = SixMerTokenizer()
    ways["this project: base_codes, SixMerTokenizer.encode"] = lambda: [
        six_mers.encode(base_codes(block)) for block in blocks
    ]
    amounts = dict.fromkeys(ways, sum(map(len, blocks)))
    for name, tokenize in _tokenizers(k).items():
        inputs = windows if name.endswith(_RAW) else texts
        if [list(ids) for ids in tokenize(inputs)] != expected:
            raise SystemExit(f"{name} gives other ids: nothing to compare.")
        ways[name] = partial(tokenize, inputs)
        amounts[name] = count * _WINDOW
    print(compare(ways, amounts, "bases"))


def _tokenizers(k: int) -> dict[str, Callable[[list[str]], Iterable]]:
    """Returns the others, by name: word-level, those of an export, and BERT's in Python, which DNABERT's is."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import AutoTokenizer, BertTokenizer
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    vocabulary = {token: number for number, token in enumerate(KmerTokenizer(k).tokens)}
    fast = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    fast.pre_tokenizer = WhitespaceSplit()
    with tempfile.TemporaryDirectory() as directory:
        write_tokenizer(Path(directory), k, 512)
        exported = {cls.__name__: cls.from_pretrained(directory) for cls in (BertTokenizer, AutoTokenizer)}
        (Path(directory) / "vocabulary").write_text("\n".join(vocabulary), encoding="utf-8")
        slow = BertTokenizerLegacy(f"{directory}/vocabulary", do_lower_case=False)

    def ids(name: str, texts: list[str]) -> list[list[int]]:
        return exported[name](texts, add_special_tokens=False)["input_ids"]

    return {
        "tokenizers, WordLevel, all cores": lambda texts: [each.ids for each in fast.encode_batch(texts)],
        "BertTokenizer of an export, k-mers": partial(ids, "BertTokenizer"),
        "AutoTokenizer of an export, k-mers": partial(ids, "AutoTokenizer"),
        f"AutoTokenizer of an export{_RAW}": partial(ids, "AutoTokenizer"),
        "transformers, Python BertTokenizer": lambda texts: [
            slow.convert_tokens_to_ids(slow.tokenize(text)) for text in texts
        ],
    }


if __name__ == "__main__":
    main()

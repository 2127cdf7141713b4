"""The tokenizer of an exported directory gives this project's ids, from raw DNA and from k-mers."""

import doctest
import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizer,
    PreTrainedTokenizerBase,
    pipeline,
)

from dnabert_jax.errors import InputError
from dnabert_jax.families.kmer_files import read_k, tokenizer_section, write_tokenizer
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.sequence.vocabulary import CLS, MASK, PAD, SEP, UNK

KS = range(1, 8)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A directory for each k, as AutoTokenizer finds them: beside the config.json of a BERT."""
    found = {}
    for k in KS:
        found[k] = tmp_path_factory.mktemp(f"k{k}")
        BertConfig(vocab_size=4**k + 5).save_pretrained(found[k])
        write_tokenizer(found[k], k, 512)
    return found


@pytest.fixture(scope="module")
def loaded(directories: dict[int, Path]) -> dict[int, PreTrainedTokenizerBase]:
    return {k: AutoTokenizer.from_pretrained(directory) for k, directory in directories.items()}


@pytest.fixture(scope="module")
def letters() -> str:
    return next(iter(read_blocks(HELDOUT_FASTA))).letters.tobytes().decode()


def ids_of_words(text: str, k: int) -> list[int]:
    """What this project says of each word alone; one shorter than k is unknown."""
    words = [KmerTokenizer(k).encode_text(word).tolist() if len(word) >= k else [UNK] for word in text.split()]
    return [CLS, *(number for word in words for number in word), SEP]


@pytest.mark.parametrize("k", KS)
def test_real_sequence_has_the_ids_of_this_project(
    k: int, directories: dict[int, Path], loaded: dict[int, PreTrainedTokenizerBase], letters: str
) -> None:
    plain = Tokenizer.from_file(str(directories[k] / "tokenizer.json"))
    by_vocabulary = BertTokenizer.from_pretrained(directories[k])
    for begin in (0, 1000, 20_000):
        dna = letters[begin : begin + 1000]
        expected = [CLS, *KmerTokenizer(k).encode_text(dna).tolist(), SEP]
        assert len(expected) == 1000 - k + 1 + 2
        for text in (dna, dna.lower(), split_kmers(dna, k)):
            assert loaded[k](text)["input_ids"] == expected
            assert plain.encode(text).ids == expected
        assert by_vocabulary(split_kmers(dna, k))["input_ids"] == expected


@pytest.mark.parametrize("k", KS)
def test_words_of_all_lengths_case_and_ambiguity_letters(k: int, loaded: dict[int, PreTrainedTokenizerBase]) -> None:
    chance = random.Random(k)  # noqa: S311
    texts = ["", " "]
    for _ in range(300):
        words = ["".join(chance.choices("ACGTacgtNnRy", [9] * 8 + [1] * 4, k=chance.randrange(25))) for _ in range(3)]
        texts.append(chance.choice([" ", "\n", "\t "]).join(words[: chance.randrange(1, 4)]))
    for text, ids in zip(texts, loaded[k](texts)["input_ids"], strict=True):
        assert ids == ids_of_words(text, k), text


def test_what_is_no_dna_is_unknown(loaded: dict[int, PreTrainedTokenizerBase]) -> None:
    acg, cgt = KmerTokenizer(3).encode_text("ACGT").tolist()
    assert loaded[3]("ACGTUUU")["input_ids"] == [CLS, acg, cgt, UNK, UNK, UNK, SEP]
    assert loaded[3]("AC, ACG. ## é [mask] ACG")["input_ids"][-6:] == [*[UNK] * 4, acg, SEP]
    assert loaded[3]("AC. A\u0130")["input_ids"] == [CLS, UNK, UNK, SEP]


def test_special_tokens_between_raw_dna_and_between_kmers(loaded: dict[int, PreTrainedTokenizerBase]) -> None:
    acg, cgt = KmerTokenizer(3).encode_text("ACGT").tolist()
    assert loaded[3]("ACG NNN [MASK]")["input_ids"] == [CLS, acg, UNK, MASK, SEP]
    assert loaded[3]("ACGT[MASK]AC[MASK] ACG[SEP]ACGT[PAD]")["input_ids"] == [
        CLS, acg, cgt, MASK, UNK, MASK, acg, SEP, acg, cgt, PAD, SEP,
    ]  # fmt: skip
    assert loaded[3].decode([CLS, acg, cgt, SEP], skip_special_tokens=True) == "ACG CGT"


@pytest.mark.parametrize("k", [1, 3, 6])
def test_offsets_point_to_the_first_base_of_a_kmer(k: int, loaded: dict[int, PreTrainedTokenizerBase]) -> None:
    text = "ACGTNACG  acgtgtc[MASK]ttgacat"
    found = loaded[k](text, return_offsets_mapping=True)
    places = [(begin, end) for begin, end in found["offset_mapping"] if end]
    starts = [*range(8 - k + 1), *range(10, 17 - k + 1), 17, *range(23, 30 - k + 1)]
    assert places == [(start, start + (6 if start == 17 else 1)) for start in starts]
    # A k-mer by itself, and a word that is too short for one, is the whole word.
    text = f"{'ACGTAC'[:k]} A"
    assert loaded[k](text, return_offsets_mapping=True)["offset_mapping"][1:-1] == [(0, k), (k + 1, k + 2)]


def test_pairs_truncation_and_padding(loaded: dict[int, PreTrainedTokenizerBase], letters: str) -> None:
    tokenizer = loaded[6]
    first, second = (
        KmerTokenizer(6).encode_text(letters[:20]).tolist(),
        KmerTokenizer(6).encode_text(letters[40:50]).tolist(),
    )
    pair = tokenizer(letters[:20], letters[40:50])
    assert pair["input_ids"] == [CLS, *first, SEP, *second, SEP]
    assert pair["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert tokenizer.model_max_length == 512
    assert tokenizer(letters[:2000], truncation=True)["input_ids"] == [
        CLS,
        *KmerTokenizer(6).encode_text(letters[:515]).tolist(),
        SEP,
    ]
    batch = tokenizer([letters[:20], letters[40:50]], padding=True, return_tensors="np")
    assert batch["input_ids"].tolist() == [[CLS, *first, SEP], [CLS, *second, SEP, *[PAD] * 10]]
    assert batch["attention_mask"].tolist() == [[1] * 17, [1] * 7 + [0] * 10]
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == [0, 1, 2, 3, 4]


def test_pipelines_take_raw_dna(directories: dict[int, Path], tmp_path: Path, letters: str) -> None:
    settings = BertConfig.from_pretrained(
        directories[3], hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    dna, kmers = letters[:60], split_kmers(letters[:60], 3)
    for task, model in (
        ("fill-mask", BertForMaskedLM(settings)),
        ("text-classification", BertForSequenceClassification(settings)),
    ):
        model.save_pretrained(tmp_path / task)
        write_tokenizer(tmp_path / task, 3, 512)
        predict = pipeline(task, str(tmp_path / task), device="cpu")
        mask = "[MASK]" if task == "fill-mask" else ""
        assert predict(dna + mask) == predict(f"{kmers} {mask}")


@pytest.mark.parametrize("k", KS)
def test_the_examples_of_the_model_card_run(
    k: int, directories: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directories[k])
    section = tokenizer_section(k, 512).replace("```\n", "\n")
    examples = doctest.DocTestParser().get_doctest(section, {}, "model card", None, None)
    assert len(examples.examples) == 9
    failures = []
    doctest.DocTestRunner().run(examples, out=failures.append)
    assert failures == []
    assert f"{4**k + 5} tokens" in section


def test_k_is_that_of_the_vocabulary(tmp_path: Path, directories: dict[int, Path]) -> None:
    assert read_k(tmp_path) is None
    (tmp_path / "tokenizer.json").write_bytes((directories[4] / "tokenizer.json").read_bytes())
    assert read_k(tmp_path) == 4
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {}}))
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        read_k(tmp_path)
    tokens = KmerTokenizer(3).tokens
    for wrong, error in (
        (sorted(tokens), "token 0 is 'AAA'"),
        (tokens[:-1], "token 68 is "),
        ([], "token 5 is "),
    ):
        (tmp_path / "vocab.txt").write_text("\n".join(wrong))
        with pytest.raises(InputError, match=error):
            read_k(tmp_path)

"""Motif files as people have them: what is read has the right values, what cannot be used is named."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.io.meme import read_meme

HEADER = (
    "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.3 C 0.2 G 0.2 T 0.3\n\n"
)
CAG = " 0.01 0.97 0.01 0.01\n 0.97 0.01 0.01 0.01\n 0.01 0.01 0.97 0.01\n"
MATRIX = f"letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 1e-5\n{CAG}"
TWO = f"{HEADER}MOTIF MA1.1 SPI1 (var.2)\n\n{MATRIX}URL http://x\n\nMOTIF M2\n{MATRIX}"
NAMED = {("MA1.1", "SPI1 (var.2)"): "CAG", ("M2", ""): "CAG"}

READ = {
    "as JASPAR writes it": TWO,
    "no w=": TWO.replace(" w= 3", ""),
    "no settings at all": TWO.replace(": alength= 4 w= 3 nsites= 20 E= 1e-5", ":"),
    "no space after =": TWO.replace("= ", "="),
    "tabs": TWO.replace(" 0", "\t0"),
    "CR LF": TWO.replace("\n", "\r\n"),
    "CR": TWO.replace("\n", "\r"),
    "byte-order mark": "\ufeff" + TWO.removeprefix(HEADER),
    "no header": TWO.removeprefix(HEADER),
    "comments and blank lines": TWO.replace("1e-5\n", "1e-5\n\n# rows\n"),
    "log-odds beside": TWO.replace(MATRIX, f"log-odds matrix: alength= 4 w= 3\n 9 -5 -5 -5\n\n{MATRIX}", 1),
    "MEME's own output": TWO.replace("(var.2)", "(var.2)\twidth =   3  sites =  20  llr = 1")
    .replace("ALPHABET", "****\nPRIMARY SEQUENCES= x.fa\n****\nALPHABET")
    .replace("URL", "-----\n\n\tMotif 1 block diagrams\n-----\nURL"),
    "MOTIF without a matrix": TWO.replace("MOTIF M2", "MOTIF M3\n\nMOTIF M4 x\nMOTIF M2"),
    "rows that end early": TWO + f"MOTIF M3\n{MATRIX.replace('w= 3', 'w= 4')}",
    "a row of three numbers": TWO + f"MOTIF M3\n{MATRIX.replace(' 0.97 0.01 0.01 0.01', ' 0.97 0.01 0.01')}",
    "a decimal comma": TWO + f"MOTIF M3\n{MATRIX.replace('0.97', '0,97')}",
    "nan": TWO + f"MOTIF M3\n{MATRIX.replace('0.97', 'nan')}",
    "counts": TWO + f"MOTIF M3\n{MATRIX.replace('0.', '')}",
    "of another alphabet": TWO + f"MOTIF M3\n{MATRIX.replace('alength= 4', 'alength= 20')}",
    "custom alphabet of DNA": TWO.replace(
        "ALPHABET= ACGT",
        'ALPHABET "DNA" DNA-LIKE\n# core\nA "Adenine" CC0000 ~ T "Thymine" 008000\nC ~ G\nN = ACGT\nEND ALPHABET',
    ),
    "alphabet of proteins, four columns": TWO.replace("= ACGT", "= ACDEFGHIKLMNPQRSTVWY").replace(
        "alength= 4", "alength= 20"
    ),
    "RNA": TWO.replace("ACGT", "ACGU").replace("T 0.3", "U 0.3"),
}
LEFT_OUT = {
    "MOTIF without a matrix": ["line 18", "line 20"], "rows that end early": ["line 23"],
    "a row of three numbers": ["line 23"], "a decimal comma": ["line 23"], "nan": ["line 23"], "counts": ["line 23"],
    "of another alphabet": ["line 23"],
}  # fmt: skip


@pytest.mark.parametrize("name", list(READ))
def test_what_is_sound_is_read_and_the_rest_is_named(name: str, write: Callable[..., Path]) -> None:
    path = write("x.meme", READ[name])
    motifs, left_out = read_meme(path)
    assert {key: "".join("ACGT"[base] for base in rows.argmax(axis=1)) for key, rows in motifs.items()} == NAMED
    for rows in motifs.values():
        np.testing.assert_allclose(rows.max(axis=1), 0.97)
    alphabets = {"RNA": "ACGU", "alphabet of proteins, four columns": "ACDEFGHIKLMNPQRSTVWY"}
    assert [alphabets.get(name, "?") in remark for remark in left_out.remarks] == [True] * (name in alphabets)
    assert left_out.total == len(LEFT_OUT.get(name, []))
    listed = "\n".join(left_out.sentences())
    assert re.findall(r"line \d+", listed) == LEFT_OUT.get(name, [])


def test_rows_are_normalised_and_bytes_that_are_not_utf8_do_no_harm(write: Callable[..., Path]) -> None:
    path = write("x.meme", f"{HEADER}MOTIF M1 caf\xe9\n{MATRIX}".replace("0.97", "0.96").encode("latin-1"))
    ((name, rows),) = read_meme(path)[0].items()
    assert name[0] == "M1"
    np.testing.assert_allclose(rows[0], np.array([0.01, 0.96, 0.01, 0.01]) / 0.99)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "x.meme"),
        (HEADER, "x.meme"),
        (TWO.replace("MOTIF", "motif"), "MOTIF"),
        (TWO.replace("MOTIF M2", "MOTIF"), "line 18"),
        (TWO.replace("MOTIF M2", "MOTIF MA1.1 SPI1  (var.2)"), "lines 10 and 18"),
        (TWO.replace("w= 3", "w= 4"), "line 10.*line 18"),
        (TWO.replace("0.", ""), "line 10.*line 18"),
        (TWO.replace("= ACGT", "= ACDEFGHIKLMNPQRSTVWY").replace(" 0.01\n", " 0.01 0\n"), "line 10.*line 18"),
        (TWO.replace("= ACGT", "= ATCG"), "ATCG"),
        (">M1\tSPI1\nA  [ 0 3 79 ]\nC  [ 94 75 4 ]\nG  [ 1 0 3 ]\nT  [ 2 19 11 ]\n", "MOTIF"),
        (">CAG\tSPI1\t6.5\n0.1\t0.7\t0.1\t0.1\n", "MOTIF"),
        ("AC M1\nXX\nPO A C G T\n01 1 2 3 4 N\nXX\n//\n", "MOTIF"),
        ('<?xml version="1.0"?>\n<MEME version="5.5.2">\n</MEME>\n', "MOTIF"),
        ("MOTIF M1\0\n", "x.meme"),
    ],
)
def test_another_file_is_refused_by_name(content: str, named: str, write: Callable[..., Path]) -> None:
    path = write("x.meme", content)
    with pytest.raises(InputError, match=named) as caught:
        read_meme(path)
    assert str(path) in str(caught.value)

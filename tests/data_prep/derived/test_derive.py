"""The three jobs on an assembly of which everything is known."""

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from Bio.Seq import reverse_complement

from dnabert_jax.data.manifest import FILE_NAME
from dnabert_jax.data.tfrecord import example, feature
from dnabert_jax.data_prep.derived import table
from dnabert_jax.data_prep.derived.derive import SPLITS, DerivedManifest
from dnabert_jax.data_prep.derived.table import TABLE
from dnabert_jax.data_prep.derived.tasks import Promoters, Splice, Tfbs
from dnabert_jax.io import genome
from dnabert_jax.io.left_out import BEYOND
from dnabert_jax.typed_json import read_json, to_json
from tests.data_prep.conftest import contents
from tests.data_prep.derived.conftest import Assembly, Derived, Row, gtf_text, place


def check_common(assembly: Assembly, rows: list[Row], length: int) -> None:
    """Coordinates of everything cut from the genome; loci; sequences once; both ends of the split."""
    for row in rows:
        assert int(row["end"]) - int(row["start"]) == len(row["sequence"]) == length
        assert set(row["sequence"]) <= set("ACGT")
        if row["origin"] not in ("shuffle", "substitution"):
            assert row["sequence"] == assembly.window(*place(row), row["end"])
    canonical = Counter(min(row["sequence"], reverse_complement(row["sequence"])) for row in rows)
    assert max(canonical.values()) == 1
    assert {row["split"] for row in rows} == set(SPLITS)
    for a, b in itertools.combinations(rows, 2):
        if a["split"] != b["split"] and a["chrom"] == b["chrom"]:
            assert abs(int(a["start"]) - int(b["start"])) - length >= 1000


def apart(rows: list[Row], length: int) -> None:
    """No two windows of a contig overlap."""
    places = sorted((row["chrom"], int(row["start"])) for row in rows)
    assert all(a[0] != b[0] or b[1] - a[1] >= length for a, b in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("protocol", "upstream", "downstream", "length"),
    [("dnabert-prom-300", 249, 50, 300), ("dnabert-prom-core", 34, 35, 70)],
)
def test_promoters(
    assembly: Assembly, derived: Derived, protocol: str, upstream: int, downstream: int, length: int
) -> None:
    manifest, rows = derived(Promoters, protocol=protocol)
    check_common(assembly, rows, length)
    expected = {}
    for gene in assembly.genes:
        start = gene.tss - (upstream if gene.strand == "+" else downstream)
        text = assembly.window(gene.contig, start, gene.strand, start + length)
        expected[text] = "TATA" if gene.tata else "non-TATA"
    assert {row["sequence"]: row["group"] for row in rows if row["label"] == "promoter"} == expected
    origins = Counter((row["label"], row["group"], row["origin"]) for row in rows)
    tata = sum(gene.tata for gene in assembly.genes)
    assert origins == {
        ("promoter", "TATA", "annotation"): tata,
        ("promoter", "non-TATA", "annotation"): len(expected) - tata,
        ("background", "TATA", "tata-windows"): tata,
        ("background", "non-TATA", "substitution"): len(expected) - tata,
    }
    sites = [(gene.contig, gene.tss) for gene in assembly.genes]
    apart([row for row in rows if row["origin"] == "tata-windows"], length)
    for row in rows:
        if row["origin"] == "tata-windows":
            # 8 bases of GCGC stand before the planted box, which begins at -31.
            assert re.match("TATA[AT]A", row["sequence"][upstream - 31 :])
            first, last = int(row["start"]) - 1000, int(row["end"]) + 1000
            assert not any(row["chrom"] == contig and first <= tss < last for contig, tss in sites)
    assert manifest.assembly == {"donors": 84, "GT share": 1.0, "acceptors": 84, "AG share": 1.0}
    assert manifest.read["distinct start sites"] == len(expected)
    assert manifest.splits["test"]["label"] == Counter(row["label"] for row in rows if row["split"] == "test")
    assert (manifest.left_out, manifest.missing) == ({}, {})


def test_what_is_made_of_a_promoter_is_in_its_split(derived: Derived) -> None:
    _, rows = derived(Promoters, tata_negatives=("substitution",), other_negatives=("substitution", "shuffle"))
    split = {place(row): row["split"] for row in rows if row["label"] == "promoter"}
    sources = {place(row): row["sequence"] for row in rows if row["label"] == "promoter"}
    made = [row for row in rows if row["label"] == "background"]
    assert len(made) > len(sources)
    for row in made:
        source = sources[place(row)]
        assert row["split"] == split[place(row)]
        if row["origin"] == "shuffle":
            assert Counter(itertools.pairwise(row["sequence"])) == Counter(itertools.pairwise(source))
        else:
            assert sum(a == b for a, b in zip(row["sequence"], source, strict=True)) >= 8 * 15


def test_splice_sites(assembly: Assembly, derived: Derived) -> None:
    manifest, rows = derived(Splice, negative_ratio=1.0, seed=3)
    # Decoys are near sites, so that few loci are left between the genes.
    check_common(assembly, rows, 400)
    expected, borders = set(), set()
    for gene in assembly.genes:
        for (_, left), (right, _) in itertools.pairwise(gene.exons):
            for border, label in zip(
                (left, right), ("donor", "acceptor")[:: 1 if gene.strand == "+" else -1], strict=True
            ):
                expected.add((gene.contig, border - 200, gene.strand, label))
                borders.add((gene.contig, border, gene.strand))
    assert {(*place(row), row["label"]) for row in rows if row["origin"] == "annotation"} == expected
    for row in rows:
        bases = row["sequence"][200:202], row["sequence"][198:200]
        assert bases[0] == "GT" if row["label"] == "donor" else bases[1] == "AG" or row["label"] == "neither"
    decoys = [row for row in rows if row["label"] == "neither"]
    assert len(decoys) == len(expected)
    # As many GT as AG, at the two places; those that are both by chance are few.
    kinds = [(row["sequence"][200:202] == "GT", row["sequence"][198:200] == "AG") for row in decoys]
    assert all(map(any, kinds))
    assert min(map(sum, zip(*kinds, strict=True))) >= len(decoys) // 2
    for row in decoys:
        middle = int(row["start"]) + 200
        near = {(row["chrom"], middle + step, row["strand"]) for step in range(-18, 19)}
        assert near.isdisjoint(borders)
        genes = [gene for gene in assembly.genes if (gene.contig, gene.strand) == (row["chrom"], row["strand"])]
        assert any(gene.exons[0][0] <= middle <= gene.exons[-1][1] for gene in genes)
    assert manifest.labels == ("neither", "donor", "acceptor")


def test_splice_sites_that_are_not_canonical(assembly: Assembly, derived: Derived, tmp_path: Path) -> None:
    gene = assembly.genes[0]
    odd = dataclasses.replace(gene, exons=((gene.exons[0][0], gene.exons[0][1] - 7), *gene.exons[1:]))
    assert assembly.sequences[odd.contig][odd.exons[0][1] :][:2] != "GT"
    gtf = tmp_path / "odd.gtf"
    gtf.write_text(gtf_text([odd, *assembly.genes]))
    for every, left_out, donors in ((False, [1], 84), (True, [], 85)):
        manifest, rows = derived(Splice, str(every), gtf=gtf, all_sites=every, locus_distance=0)
        assert list(manifest.left_out.values()) == left_out
        assert Counter(row["label"] for row in rows)["donor"] == donors


def test_peaks(assembly: Assembly, derived: Derived, tmp_path: Path) -> None:
    contigs = {"validation_contigs": ("2",), "test_contigs": ("chr3",)}
    manifest, rows = derived(Tfbs, negatives=("gc-windows", "shuffle"), negative_distance=100, **contigs)
    by_split = {split: {row["chrom"] for row in rows if row["split"] == split} for split in SPLITS}
    assert by_split == {"train": {"chr1"}, "validation": {"chr2"}, "test": {"chr3"}}
    bound = [row for row in rows if row["label"] == "bound"]
    assert [place(row) for row in bound] == [
        (contig, start + 30 - 50, "+") for contig in assembly.sequences for start in range(300, 59_000, 1500)
    ]
    assert all(
        row["sequence"] == assembly.window(*place(row), row["end"]) for row in rows if row["origin"] != "shuffle"
    )
    windows = [row for row in rows if row["origin"] == "gc-windows"]
    assert len(windows) == len(bound)
    apart(windows, 101)
    for row in windows:
        peak = (int(row["start"]) - 300) // 1500 * 1500 + 300
        assert int(row["start"]) >= peak + 200 + 100
        assert int(row["end"]) <= peak + 1500 - 100
    content = [
        sorted((row["chrom"], sum(base in "GC" for base in row["sequence"])) for row in own) for own in (bound, windows)
    ]
    for (contig, gc), (other, of_other) in zip(*content, strict=True):
        assert contig == other
        assert abs(gc - of_other) <= 0.02 * 101
    assert abs(manifest.gc_content["annotation"] - manifest.gc_content["gc-windows"]) < 0.005
    assert manifest.gc_content["annotation"] == pytest.approx(manifest.gc_content["shuffle"])
    # Negatives keep from windows wider than their peaks, too.
    peaks = tmp_path / "narrow.bed"
    peaks.write_text("".join(f"{name}\t{s}\t{s + 2}\n" for name in assembly.sequences for s in range(99, 59_000, 300)))
    apart(derived(Tfbs, "narrow", peaks=peaks, locus_distance=0, negative_distance=0)[1], 101)


def test_what_is_left_out_is_counted(assembly: Assembly, derived: Derived, tmp_path: Path) -> None:
    sequence = "N" * 100 + assembly.sequences["chr1"][:20_000] + assembly.sequences["chr1"][15_000:20_000]
    fasta, peaks, blacklist, more = (tmp_path / name for name in ("a.fa", "a.bed", "b.bed", "c.bed"))
    fasta.write_text(f">1\n{sequence}\n>other\nACGT\n")
    starts = [0, 90, *range(400, 14_000, 400), 16_000, 21_000, 25_080, 30_000]
    # The same window twice, by its two ends.
    peaks.write_text("".join(f"chr1\t{start}\t{start + 20}\n" for start in [*starts, 400]) + "chrUn\t5\t9\n")
    # The first of them is in what is left out for its N already.
    blacklist.write_text("1\t95\t96\n1\t700\t860\n")
    more.write_text("chr1\t15500\t15501\nchr2\t1\t9\n")
    files = {"fasta": (fasta,), "peaks": peaks, "blacklist": (blacklist, more)}
    manifest, rows = derived(Tfbs, locus_distance=0, negative_distance=0, negative_ratio=0.5, **files)
    # The contig, the ends, N, the blacklist, the same sequence.
    assert sorted(manifest.left_out.values()) == [1, 1, 1, 1, 3]
    assert set(manifest.left_out_examples["the genome has no such contig"]) == {"chrUn"}
    assert manifest.left_out_examples[BEYOND] == ["1:-40-61", "1:25040-25141", "1:29960-30061"]
    for start, end in ((700, 860), (15_500, 15_501)):
        assert not any(int(row["start"]) < end and int(row["end"]) > start for row in rows)
    assert Counter(row["label"] for row in rows) == {"bound": 34, "background": 18}
    assert manifest.contigs == {"absent": {"chrUn": 1}, "renamed": {"chr1": "1"}}
    assert manifest.read["peaks without summit, of which the middle was taken"] == len(starts) + 2


@pytest.mark.parametrize("order", [("chrM", "chrMT"), ("chrMT", "chrM")])
def test_mt_is_chrmt_where_there_is_chrm_too(
    order: tuple[str, str], assembly: Assembly, derived: Derived, tmp_path: Path
) -> None:
    contigs = {"chrM": assembly.sequences["chr1"], "chrMT": assembly.sequences["chr2"]}
    contigs |= {"chrx": assembly.sequences["chr1"][::-1], "chr3": assembly.sequences["chr3"]}
    fasta, peaks = tmp_path / "a.fa", tmp_path / "a.bed"
    fasta.write_text("".join(f">{name}\n{contigs[name]}\n" for name in ("chr3", *order, "chrx")))
    peaks.write_text("".join(f"{name}\t{s}\t{s + 20}\n" for name in ("MT", "3", "X") for s in range(300, 59_000, 1500)))
    files = {"fasta": (fasta,), "peaks": peaks, "negative_distance": 0}
    manifest, rows = derived(Tfbs, **files)
    labels = Counter((row["chrom"], row["label"]) for row in rows)
    assert labels == {(name, label): 40 for name in ("chr3", "chrMT", "chrx") for label in ("bound", "background")}
    assert manifest.contigs == {"absent": {}, "renamed": {"MT": "chrMT", "3": "chr3", "X": "chrx"}}
    # Of an ambiguous contig its own records alone are left out.
    fasta.write_text(fasta.read_text() + f">CHRx\n{contigs['chrx']}\n")
    ambiguous, rows = derived(Tfbs, "ambiguous", **files)
    assert {row["chrom"] for row in rows} == {"chr3", "chrMT"}
    assert list(ambiguous.left_out.values()) == [40]
    assert ambiguous.contigs["absent"] == {"X": 40}


def test_contigs_with_names_that_are_not_utf8(
    assembly: Assembly, peaks: Path, derived: Derived, tmp_path: Path
) -> None:
    names = {b"chr1": b"c\xe9", b"chr2": b"c\xeb", b"chr3": "Epichlo\u00eb".encode()}
    files = [tmp_path / "odd.fa", tmp_path / "odd.narrowPeak"]
    for path, odd in zip((assembly.fasta, peaks), files, strict=True):
        odd.write_bytes(re.sub(b"chr[123]", lambda found: names[found[0]], path.read_bytes()))
    _, rows = derived(Tfbs, fasta=(files[0],), peaks=files[1], negative_distance=0)
    assert Counter(row["chrom"] for row in rows) == dict.fromkeys(("c\\xe9", "c\\xeb", "Epichlo\u00eb"), 80)


def test_too_few_windows_of_like_gc_are_counted(derived: Derived, tmp_path: Path) -> None:
    fasta, peaks = tmp_path / "a.fa", tmp_path / "a.bed"
    rng = np.random.default_rng(0)
    parts = [rng.choice(list(letters), size) for _ in range(9) for letters, size in (("GC", 150), ("ACGT", 850))]
    fasta.write_text(">a\n" + "".join(map("".join, parts)) + "\n")
    peaks.write_text("".join(f"a\t{start}\t{start + 150}\n" for start in range(0, 9000, 1000)) + "a\t500\t520\n")
    near = {"locus_distance": 0, "negative_distance": 0, "validation_fraction": 0.2, "test_fraction": 0.2}
    assert derived(Tfbs, fasta=(fasta,), peaks=peaks, **near)[0].missing == {"gc-windows": 9}


def test_a_random_subset_of_each_label(assembly: Assembly, derived: Derived, tmp_path: Path) -> None:
    def chosen(name: str, maximum: int, **settings: object) -> list[tuple[str, int, str]]:
        _, rows = derived(Tfbs, name, negative_distance=0, maximum_per_label=maximum, **settings)
        assert set(Counter(row["label"] for row in rows).values()) == {maximum}
        return sorted(place(row) for row in rows if row["label"] == "bound")

    both = [chosen(str(seed), 20, seed=seed) for seed in (0, 1)]
    assert both[0] != both[1]
    assert {contig for contig, *_ in both[0]} == set(assembly.sequences)
    # A smaller subset is part of a larger one, also where this is cut once, at the end.
    assert set(both[0]) < set(chosen("more", 90))
    # Nor does the order of the contigs matter.
    parts = []
    for name in reversed(assembly.sequences):
        parts.append(tmp_path / f"{name}.fa")
        parts[-1].write_text(f">{name}\n{assembly.sequences[name]}\n")
    assert chosen("apart", 20, fasta=tuple(parts)) == both[0]


def test_same_seed_same_bytes_and_another_seed_other_negatives(
    derived: Derived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the sequence is read."""
    manifest, _ = derived(Promoters, "a")
    derived(Promoters, "c", seed=1)
    monkeypatch.setattr(genome, "BLOCK_LETTERS", 1000)
    derived(Promoters, "b")
    made = [contents(tmp_path / name) for name in "abc"]
    assert made[0] == made[1]
    # A gzip file has a time in it, in seconds: none here.
    assert made[0][TABLE][4:8] == bytes(4)
    assert made[0][TABLE] != made[2][TABLE]
    path = tmp_path / "a" / FILE_NAME
    assert to_json(read_json(DerivedManifest, path)) == to_json(manifest) == path.read_text()
    assert set(manifest.files) | {FILE_NAME} == made[0].keys()
    assert manifest.choices["negatives"] == {"TATA": ("tata-windows",), "non-TATA": ("substitution",)}
    assert "substitution" in manifest.rules
    assert "shuffle" not in manifest.rules


def test_tfds_reads_the_rows_of_the_table(derived: Derived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From several shards."""
    monkeypatch.setattr(table, "ROWS_PER_SHARD", 7)
    _, rows = derived(Promoters)
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    labels = builder.info.features["label"].names
    assert labels == ["background", "promoter"]
    texts, numbers = ("chrom", "strand", "group", "origin", "sequence"), ("start", "end")
    for split in SPLITS:
        expected = [
            {name: row[name].encode() for name in texts}
            | {name: int(row[name]) for name in numbers}
            | {"label": labels.index(row["label"])}
            for row in rows
            if row["split"] == split
        ]
        assert list(builder.as_data_source(split)) == expected
        assert len(list((tmp_path / "out").glob(f"{split}-*.array_record"))) == -(-len(expected) // 7)


def test_examples_are_those_of_tfds() -> None:
    features = tfds.features.FeaturesDict({"a": tfds.features.Text(), "b": tfds.features.Scalar(np.int64)})
    for number in (0, 127, 128, 248_956_422, 2**40):
        row = {"a": "ACGT" * 100, "b": number}
        read = features.deserialize_example_np(example(feature(*entry) for entry in row.items()))
        assert (read["a"], read["b"]) == (row["a"].encode(), number)

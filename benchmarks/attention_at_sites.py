"""Scores of bases within known binding sites, over those beside them.

    python -m benchmarks.attention_at_sites --fasta positives.fa --motif MA0139.2 tuned.npz untuned.npz

In each sequence the place that a known motif (extra `jaspar`) fits best, on either strand, is taken for its site if the
log-odds there are at least --share of the most that the motif can have. Printed is, over the sequences with a site,
the mean score within it divided by the mean score of the other bases. Score files are those of `dnabert-jax attention`.
"""

from pathlib import Path

import numpy as np
from Bio import SeqIO

from benchmarks.alternation import flags
from dnabert_jax.interpret.motifs.known_motifs import JASPAR, read_database
from dnabert_jax.interpret.score_files import read_score_file
from dnabert_jax.sequence.bases import base_codes

_PSEUDO_PROBABILITY = 0.01


def main() -> None:
    """Prints a row for each file of scores."""
    parser = flags(__doc__)
    parser.add_argument("scores", nargs="+", type=Path, help="files of scores of the sequences")
    parser.add_argument("--fasta", type=Path, required=True, help="the sequences")
    parser.add_argument("--database", default=JASPAR, help="jaspar, or a file in MEME's format (%(default)s)")
    parser.add_argument("--motif", required=True, help="id in the database")
    parser.add_argument("--share", type=float, default=0.6, help="of the most log-odds, for a site (%(default)s)")
    arguments = parser.parse_args()
    known = read_database(arguments.database)
    if arguments.motif not in known.ids:
        raise SystemExit(f"{arguments.database} has no motif {arguments.motif}.")
    probabilities = known.matrices[known.ids.index(arguments.motif)] + _PSEUDO_PROBABILITY
    log_odds = np.log2(4 * probabilities / probabilities.sum(axis=1, keepdims=True))
    least = arguments.share * log_odds.max(axis=1).sum()
    texts = {record.id: str(record.seq).upper() for record in SeqIO.parse(arguments.fasta, "fasta")}
    best = {name: best_site(base_codes(text.encode(), name), log_odds) for name, text in texts.items()}
    sites = {name: start for name, (score, start) in best.items() if score >= least}
    print(f"{arguments.motif}: {len(sites):,} of {len(texts):,} sequences have a site.\n")
    if not sites:
        return
    print("| scores | within, over beside: median (quartiles) | sequences above 1 |\n|---|---|---|")
    lengths = np.array([len(texts[name]) for name in sites], np.int64)
    for path in arguments.scores:
        ratios = []
        for start, own in zip(sites.values(), read_score_file(path).by_name(list(sites), lengths), strict=True):
            within = np.arange(len(own)) - start
            inside = (within >= 0) & (within < len(log_odds))
            ratios.append(own[inside].mean() / own[~inside].mean())
        low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(f"| {path} | {median:.2f} ({low:.2f} - {high:.2f}) | {np.mean(np.array(ratios) > 1):.0%} |")


def best_site(codes: np.ndarray, log_odds: np.ndarray) -> tuple[float, int]:
    """Log-odds and start of the best place on either strand; letters such as N count as 0."""
    padded = np.pad(log_odds, ((0, 0), (0, 1)))
    order = [*base_codes(b"ACGT").tolist(), -1]
    turned = padded[::-1][:, [3, 2, 1, 0, 4]]
    columns = np.array([order.index(code) if code in order else len(order) - 1 for code in codes])
    windows = np.lib.stride_tricks.sliding_window_view(columns, len(log_odds))
    places = np.arange(len(log_odds))
    found = np.maximum(*(matrix[places, windows].sum(axis=1) for matrix in (padded, turned)))
    return float(found.max()), int(found.argmax())


if __name__ == "__main__":
    main()

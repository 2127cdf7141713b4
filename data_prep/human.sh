#!/usr/bin/env bash
# Downloads the human genome and prepares rows for pre-training: docs/pretraining.md.
set -euo pipefail

usage() {
  cat << 'END'
usage: data_prep/human.sh DIRECTORY [flags of dnabert-jax prepare genome]

Downloads GENCODE's primary assembly of GRCh38 (0.8 GB) into DIRECTORY, unless it is there, and prepares DIRECTORY/rows
(10 GB), with chromosomes 21 and 22 held out.

example: data_prep/human.sh data/human --k 6
END
}

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/download.sh"

directory=$1
shift
genome=GRCh38.primary_assembly.genome.fa.gz
mkdir -p "$directory"
download "https://ftp.ebi.ac.uk/pub/databases/gencode/Gencode_human/release_47/$genome" "$directory/$genome"
dnabert-jax prepare genome --fasta "$directory/$genome" --heldout-records chr21 chr22 --out "$directory/rows" "$@"

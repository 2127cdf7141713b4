#!/usr/bin/env bash
# Downloads the 690 peak files of ENCODE's transcription factors and makes the 690 sets: docs/suites.md.
set -euo pipefail

usage() {
  cat << 'END'
usage: data_prep/encode690.sh DIRECTORY [flags of dnabert-jax prepare tfbs]

Downloads UCSC's uniform peaks with their index files.txt, and the genome hg19 (0.8 GB), into DIRECTORY, unless they are
there, and makes DIRECTORY/sets. The MD5 of each peak file is compared with the index.

example: data_prep/encode690.sh data/encode690 --protocol zeng-tfbs
END
}

# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/download.sh"

directory=$1
shift
hg19=https://hgdownload.soe.ucsc.edu/goldenPath/hg19
peaks=$hg19/encodeDCC/wgEncodeAwgTfbsUniform
mkdir -p "$directory/peaks"
download "$hg19/bigZips/hg19.2bit" "$directory/hg19.2bit"
download "$peaks/files.txt" "$directory/peaks/files.txt"
while read -r name _; do
  if [[ $name == *.narrowPeak.gz ]]; then
    download "$peaks/$name" "$directory/peaks/$name"
  fi
done < "$directory/peaks/files.txt"
dnabert-jax prepare tfbs --fasta "$directory/hg19.2bit" --peaks "$directory/peaks" --out "$directory/sets" "$@"

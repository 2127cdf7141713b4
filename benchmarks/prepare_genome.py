"""`prepare genome` from file to shards: bases a second and peak memory, by number of processes.

python -m benchmarks.prepare_genome --fasta chrX.fa.gz --processes 1 2
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.alternation import flags, machine, spread
from dnabert_jax.data_prep.sources import SequenceFile, survey

_PROGRAM = """
import resource, sys
from pathlib import Path
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
if __name__ == "__main__":
    prepare_genome(GenomeJob((Path(sys.argv[1]),), Path(sys.argv[2])), int(sys.argv[3]))
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(max(own, children))
"""


def main() -> None:
    """Prints the table."""
    parser = flags(__doc__)
    parser.add_argument("--fasta", type=Path, required=True)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    bases = survey(SequenceFile(arguments.fasta, str(arguments.fasta))).letters
    seconds: dict[int, list[float]] = {number: [] for number in arguments.processes}
    memory: dict[int, int] = {}
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    with tempfile.TemporaryDirectory() as directory:
        for round_number in range(arguments.rounds):
            for number in arguments.processes:
                out = Path(directory) / f"{round_number}-{number}"
                begin = time.perf_counter()
                command = [sys.executable, "-c", _PROGRAM, arguments.fasta, out, str(number)]
                result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
                seconds[number].append(time.perf_counter() - begin)
                memory[number] = max(memory.get(number, 0), int(result.stdout))
    print(f"{machine()}; {arguments.fasta.name}, {bases:,} letters; {arguments.rounds} rounds in alternation\n")
    print("| processes | million bases a second: median (min - max) | peak memory of the largest process, MB |")
    print("|---|---|---|")
    for number, values in seconds.items():
        rates = [bases / value / 1e6 for value in values]
        print(f"| {number} | {spread(rates, 1)} | {memory[number] / 1024:.0f} |")


if __name__ == "__main__":
    main()

"""How long does the first image take, from the start of the command to the file?

    python -m benchmarks.cold -o benchmarks/results/cold.json

Each measurement runs in a new process, alternately with one that only imports diffusers' SDXL pipeline.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.bundled import render_reference
from benchmarks.rounds import create_parser, time_rounds, write_report

IMPORT = "from diffusers import StableDiffusionXLPipeline"
GENERATE = "from instantstyle.cli import main; main()"
TARGET = 1.5, 3.0
"""The target: a multiple of the import's time, plus seconds."""


def run_python(*arguments: str) -> None:
    """Run `python -c` in a new process."""
    subprocess.run([sys.executable, "-c", *arguments], check=True, capture_output=True)


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    args = create_parser(question, rounds=5).parse_args()
    with TemporaryDirectory() as folder:
        reference, output = Path(folder, "ink.png"), Path(folder, "out.png")
        render_reference().save(reference)
        arguments = ["generate", "a rocket", "--style", str(reference), "--seed", "7"]
        arguments += ["-o", str(output), "--force"]
        arms = {"import": partial(run_python, IMPORT), "generate": partial(run_python, GENERATE, *arguments)}
        seconds = time_rounds(arms, args.rounds)
    factor, extra = TARGET
    spare = [
        factor * imported + extra - generated
        for imported, generated in zip(seconds["import"], seconds["generate"], strict=True)
    ]
    results = {
        "import_seconds": median(seconds["import"]),
        "generate_seconds": median(seconds["generate"]),
        "seconds_to_spare": median(spare),
    }
    write_report(question, args, results)


if __name__ == "__main__":
    main()

"""How long does a person wait for the first picture, from the command to the file?

    python -m benchmarks.cold -o benchmarks/results/cold.json

A fresh process each time, in turn with one that does nothing but import diffusers' SDXL pipeline.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.bundled import reference
from benchmarks.rounds import parser, report, timed

IMPORT = "from diffusers import StableDiffusionXLPipeline"
GENERATE = "from instantstyle.cli import main; main()"
ALLOWED = 1.5, 3.0
"""Times the import, and seconds on top: the target."""


def run(*words: str) -> None:
    subprocess.run([sys.executable, "-c", *words], check=True, capture_output=True)


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    args = parser(question, rounds=5).parse_args()
    with TemporaryDirectory() as folder:
        ink, out = Path(folder, "ink.png"), Path(folder, "out.png")
        reference().save(ink)
        words = ["generate", "a rocket", "--style", str(ink), "--seed", "7", "-o", str(out), "--force"]
        arms = {"import": partial(run, IMPORT), "generate": partial(run, GENERATE, *words)}
        seconds = timed(arms, args.rounds)
    times, more = ALLOWED
    spare = [
        times * one + more - other for one, other in zip(seconds["import"], seconds["generate"], strict=True)
    ]
    results = {
        "import_seconds": median(seconds["import"]),
        "generate_seconds": median(seconds["generate"]),
        "seconds_to_spare": median(spare),
    }
    report(question, args, results)


if __name__ == "__main__":
    main()

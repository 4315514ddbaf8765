"""What do the methods beside InstantStyle give, and at what cost?

    python -m findings.methods -o findings/results/methods.json --figure docs/images/methods.jpg

InstantStyle's blocks, StyleStudio's AdaIN and held layout, StyleAligned and visual style prompting, with the same
held-out references, prompts and seeds. The last two have no adapter: they share self-attention with an image that is
generated from the reference's caption, or with the reference itself by DDIM inversion. All arms draw with DDIM, which
inversion needs. For LoRA by blocks a B-LoRA is trained on each reference, of which the style blocks act.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peak_memory import measure_peak
from benchmarks.rounds import median_ratio, time_rounds
from findings import b_lora
from findings.claims import Claim, format_claims
from findings.evidence import estimate_mean
from findings.study import (
    REFERENCES,
    REQUESTED,
    create_experiment,
    create_parser,
    load_mini,
    measure_means,
    save_sheet,
    scale_to_one,
    write_results,
)
from findings.tables import format_table
from instantstyle import SharedAttention
from instantstyle.evaluation import ARMS
from instantstyle.evaluation.arms import METHOD_ARMS
from instantstyle.evaluation.experiment import NO_REFERENCE, Arm, Experiment
from instantstyle.metrics import SCORE_TITLES

ALIGNED = Arm("StyleAligned", shared=SharedAttention())
SWAPPED = Arm("visual style prompting", shared=SharedAttention.swapped("all"))
ALIGNED_TO_REFERENCE = Arm("StyleAligned, with the reference", shared=SharedAttention(key_shift=log(2)), inverted=True)
"""With the shift of its authors for real pictures."""
SWAPPED_FOR_REFERENCE = replace(SWAPPED, name="visual style prompting, with the reference", inverted=True)
B_LORA = "B-LoRA, style blocks"
FIGURE_ROWS = 4

SCORES = ("subject", "leak", "palette", "look", "layout", "consistency")


def list_arms(lora_steps: int = b_lora.STEPS) -> list[Arm]:
    """List no reference, InstantStyle in all blocks and in the style blocks, and each other method.

    Args:
        lora_steps: Steps of training of each reference's B-LoRA.
    """
    shared = ALIGNED, SWAPPED, ALIGNED_TO_REFERENCE, SWAPPED_FOR_REFERENCE
    lora = Arm(B_LORA, make_style=partial(b_lora.style_of_picture, steps=lora_steps))
    return [NO_REFERENCE, ARMS["all"], ARMS["style"], *METHOD_ARMS.values(), *shared, lora]


def _list_claims() -> tuple[Claim, ...]:
    every, style = ARMS["all"].name, ARMS["style"].name
    adain, held = METHOD_ARMS["all-adain"].name, METHOD_ARMS["all-held"].name
    claim = partial(Claim, study="methods")
    aligned, swapped, plain = ALIGNED.name, SWAPPED.name, NO_REFERENCE.name
    inverted = ALIGNED_TO_REFERENCE.name
    return (
        claim("AdaIN leaks less than adding, in all blocks", adain, every, "leak", -1),
        claim("… and keeps more prompt fidelity", adain, every, "subject", 1),
        claim("… at a cost in the palette", adain, every, "palette", -1),
        claim("Holding the layout keeps more prompt fidelity, in all blocks", held, every, "subject", 1),
        claim("… and takes less of the reference's layout", held, every, "layout", -1),
        claim("… at no cost in the palette", held, every, "palette", -1),
        claim("StyleAligned's sets are more consistent than without", aligned, plain, "consistency", 1),
        claim("… and than the style block", aligned, style, "consistency", 1),
        claim("… with less prompt fidelity than the style block", aligned, style, "subject", -1),
        claim("… and with the reference itself, closer to its palette", inverted, aligned, "palette", 1),
        claim("… but leaks more", inverted, aligned, "leak", 1),
        claim("Visual style prompting is less consistent", swapped, aligned, "consistency", -1),
        claim("The style blocks of a B-LoRA leak less than the adapter in all blocks", B_LORA, every, "leak", -1),
        claim("… and keep more prompt fidelity", B_LORA, every, "subject", 1),
        claim("… but are less close to the palette", B_LORA, every, "palette", -1),
    )


CLAIMS = _list_claims()
"""What the methods' papers promise, and their costs."""


def measure_times(experiment: Experiment, arms: Sequence[Arm], rounds: int) -> dict[str, float]:
    """Measure the time of an image in every arm, relative to the style blocks of its round; no LoRA is trained."""
    calls = {arm.name: partial(experiment.generate_images, arm, 0) for arm in arms}
    seconds = time_rounds(calls, rounds)
    plain = seconds[ARMS["style"].name]
    return {name: round(median_ratio(own, plain), 3) for name, own in seconds.items()} | {
        "seconds of the style blocks": round(median(plain) / len(experiment.prompts), 3)
    }


def measure_memory(experiment: Experiment, arms: Sequence[Arm]) -> dict[str, float]:
    """Measure the peak of the memory of an image's tensors in every arm, in MB beside the model's weights."""
    peaks = {arm.name: measure_peak(partial(experiment.generate_images, arm, 0)) for arm in arms}
    return {name: round(peak / len(experiment.prompts) / 1e6, 2) for name, peak in peaks.items()}


def collect_results(
    experiment: Experiment, arms: Sequence[Arm], rounds: int, figure: Path | None = None
) -> dict[str, Any]:
    """Generate, score and time every arm, and measure its memory.

    Args:
        experiment: The experiment.
        arms: As `list_arms` returns them.
        rounds: Rounds of the timing.
        figure: File of a sheet of the first references; None for none.

    Returns:
        Means by arm and score, times relative to the style blocks, and peaks of memory in MB.
    """
    means = measure_means(experiment, arms)
    if figure is not None:
        save_figure(experiment, arms, figure)
    times, memory = measure_times(experiment, arms, rounds), measure_memory(experiment, arms)
    return {"means": means, "times": times, "megabytes": memory}


def save_figure(experiment: Experiment, compared: Sequence[Arm], path: Path) -> None:
    """Save a sheet: the first references, and one prompt in every arm."""
    numbers, arms = range(min(FIGURE_ROWS, len(experiment.references))), scale_to_one(compared)
    rows = [
        [experiment.references[number].image, *(experiment.load_images(arm, number)[0] for arm in arms.values())]
        for number in numbers
    ]
    save_sheet(path, [f"reference {number + 1}" for number in numbers], ["reference", *arms], rows)


def format_section(results: Mapping[str, Any]) -> str:
    """Format the results as tables: each claim with its verdict, and all arms.

    Args:
        results: As `collect_results` returns them.

    Returns:
        Markdown. The intervals of the first table hold together at 95 %, those of the second each on its own.
    """
    means, times, memory = results["means"], results["times"], results["megabytes"]
    # With one requested object there are no pairs of images, and no consistency.
    scores = [score for score in SCORES if score in means[NO_REFERENCE.name]]
    rows = [
        [arm, *(estimate_mean(own[score]).format() for score in scores), f"{times[arm]:.2f}", f"{memory[arm]:.1f}"]
        for arm, own in means.items()
    ]
    arms = format_table(["arm", *(SCORE_TITLES[score] for score in scores), "time", "memory"], rows)
    return "\n\n".join([format_claims({"methods": means}, CLAIMS), arms])


def main() -> None:
    """Run the study."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, REFERENCES, REQUESTED, seed=7)
    parser.add_argument("--figure", type=Path, help="sheet of the first references")
    parser.add_argument("--rounds", type=int, default=3, help="of the timing")
    parser.add_argument("--lora-steps", type=int, default=b_lora.STEPS, help="of training of each reference's B-LoRA")
    args = parser.parse_args()
    experiment = create_experiment(load_mini(scheduler="ddim"), args, "methods")
    results = collect_results(experiment, list_arms(args.lora_steps), args.rounds, args.figure)
    write_results(question, args, experiment, results)


if __name__ == "__main__":
    main()

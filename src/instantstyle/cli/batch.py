"""`instantstyle batch jobs.jsonl --out images`: many recipes into one folder, resumable."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Exit, Option

from . import evaluation_options, options
from .command import ListCommand as COMMAND
from .console import note, progress
from .recipe_options import (
    RECIPE_OPTIONS,
    TEXT_TO_IMAGE,
    OptionValues,
    RecipeOption,
    recipe_fields,
    with_recipe_options,
)

if TYPE_CHECKING:
    from ..batch import Backend, BatchRow, Ledger
    from ..recipe_types import RecipeFields

__all__ = ["COMMAND", "run"]

_OWN = {
    "seed": RecipeOption(
        "seed",
        Annotated[int, Option(min=0, help="Seed of the rows that have none.", rich_help_panel=options.IMAGE)],
        0,
    ),
    "model": RECIPE_OPTIONS["model"],
}
_OPTIONS = tuple(
    _OWN.get(option.name, replace(option, default=None)) for option in TEXT_TO_IMAGE if option.name != "prompt"
)
"""Options for what a row leaves out; without an option, the default is the recipe's."""

MAX_ERRORS = 100
"""Largest number of invalid rows whose errors are printed."""

EXAMPLES = (
    'instantstyle batch --styles ink.png neon.png --prompts "a rocket" "a crown" --seeds 1:3 --out pictures --report',
    "instantstyle batch jobs.jsonl --out drawn --steps 12",
)


@with_recipe_options(*_OPTIONS, takes_fields=True)
def run(
    *,
    jobs: Annotated[Path | None, Argument(help="A .jsonl, .csv or .yaml file, a recipe in each row.")] = None,
    styles: evaluation_options.Styles = None,
    prompts: evaluation_options.Prompts = None,
    seeds: Annotated[
        str | None, Option(help="first:last such as 1:10, or 1,5,9.", rich_help_panel=options.IMAGE)
    ] = None,
    values: OptionValues,
    output: Annotated[
        str,
        Option(
            "--out",
            "--output",
            "-o",
            help="A folder, or a URL such as s3://…; earlier work is resumed.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "batch",
    batch: Annotated[
        int | None,
        Option(
            min=1,
            help="Images generated at once, halved if memory runs out; by default 1 on a CPU, 4 on a GPU.",
            rich_help_panel="Run",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Try again what failed before.", rich_help_panel="Run")
    ] = False,
    report: Annotated[
        bool, Option("--report", help="Write a contact sheet and an HTML page.", rich_help_panel=options.OUTPUT)
    ] = False,
    backend: Annotated[
        str, Option(metavar="local|ray", help="Where images are generated.", rich_help_panel="Run")
    ] = "local",
    address: Annotated[
        str | None,
        Option(
            help="Of a Ray cluster, host:port or auto; by default a new one is started here.", rich_help_panel="Run"
        ),
    ] = None,
    cpus: Annotated[
        int | None, Option(min=1, help="CPUs of each Ray worker if there is no GPU.", rich_help_panel="Run")
    ] = None,
    ray_timeout: Annotated[
        float | None,
        Option(
            min=1,
            help="Seconds to wait for the Ray cluster (by default 120) and for its workers (600).",
            rich_help_panel="Run",
        ),
    ] = None,
    device: options.Device = None,
) -> None:
    """Generate every row of a manifest, or all combinations of --styles, --prompts and --seeds.

    The options apply to what a row leaves out. If a row is not valid, nothing is generated. A batch that was
    interrupted at any point is resumed by the same command. Exit code 0: all generated; 1: some failed
    or wait; 2: an error.
    """
    from ..batch import Ledger, check_backend, create_backend, open_store, write_report
    from ..errors import JobError

    given = {"address": address, "cpus": cpus, "timeout": ray_timeout}
    ray_settings: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    # Packages that are not installed are named before the rows are read, which hashes all of their files.
    check_backend(backend)
    open_store(output)
    rows = _read_rows(jobs, styles, prompts, seeds, recipe_fields(values))
    if ray_settings and backend != "ray":
        raise JobError(f"{' and '.join(ray_settings)} is for a Ray cluster; add --backend ray.")
    if backend == "ray":
        ray_settings["on_message"] = note
    worker = create_backend(backend, device, **ray_settings)
    with Ledger.open(output) as ledger:
        ledger.add_rows(rows, batch or worker.batch_size)
        if retry_failed:
            ledger.retry_failed(rows)
        all_drawn = _generate(ledger, rows, worker)
        print(write_report(ledger.store, rows, ledger.states(rows)) if report else ledger.store)
    if not all_drawn:
        raise Exit(1)


def _read_rows(
    jobs: Path | None,
    styles: Sequence[Path] | None,
    prompts: Sequence[str] | None,
    seeds: str | None,
    defaults: "RecipeFields",
) -> list["BatchRow"]:
    """Read the rows of a manifest, or combine styles, prompts and seeds; leave out repeated rows."""
    from ..batch import ManifestError, cross_product, parse_seeds, read_manifest
    from ..errors import JobError
    from ..generation.inputs import read_prompts

    if jobs is None and prompts is None and (styles or seeds):
        raise JobError(f"There are no prompts for {'--styles' if styles else '--seeds'}; add --prompts.")
    if (jobs is None) == (prompts is None) or (jobs and (styles or seeds)):
        raise JobError(
            "A batch is either a manifest, or --prompts, to which --styles and --seeds can be added; give one of them."
        )
    try:
        if jobs:
            rows = read_manifest(jobs, defaults)
        else:
            numbers = parse_seeds(seeds) if seeds else [defaults["seed"]]
            rows = cross_product(styles or (), read_prompts(prompts or ()), numbers, defaults)
    except ManifestError as error:
        for reason in error.errors[:MAX_ERRORS]:
            note(reason)
        if len(error.errors) > MAX_ERRORS:
            note(f"and {len(error.errors) - MAX_ERRORS} more")
        raise JobError(error.summary) from None
    unique = list({row.key: row for row in rows}.values())
    if repeated := len(rows) - len(unique):
        note(f"{repeated} of {len(rows)} rows repeat others and are generated once")
    return unique


def _generate(ledger: "Ledger", rows: Sequence["BatchRow"], backend: "Backend") -> bool:
    """Generate the rows that are waiting; show a bar on a terminal and print lines elsewhere.

    Returns:
        Whether all rows are drawn, in this run or before.
    """
    from ..batch import Progress, generate_rows

    states = [state for state, _ in ledger.states(rows).values()]
    count = Progress(len(rows), states.count("drawn"), states.count("failed"))
    waiting = states.count("waiting")
    if count.generated:
        note(f"{count.generated} of {count.total} exist already")
    if count.failed:
        note(f"{count.failed} failed before; --retry-failed tries them again")
    if damaged := len(ledger.damaged & {row.file for row in rows}):
        note(f"{damaged} files of {ledger.store} are damaged or of other rows; they are generated again")
    if others := ledger.count_other_rows(rows):
        note(f"{others} more images of {ledger.store} are not in this manifest; they stay as they are")
    with progress(unit="images") as on_image:
        for outcome in generate_rows(ledger, rows, backend, on_message=note):
            line = count.count(outcome)
            if on_image:
                on_image(count.finished, waiting)
            if outcome.error or not on_image:
                note(line)
    # Read again, because images may have been deleted or damaged during the run.
    left = Counter(state for state, _ in ledger.states(rows).values())
    waiting = f", {left['waiting']} wait for the next run" if left["waiting"] else ""
    note(f"{left['drawn']} of {count.total} images are in {ledger.store}, {left['failed']} failed{waiting}")
    return left["drawn"] == len(rows)

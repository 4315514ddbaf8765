"""`instantstyle batch jobs.jsonl --out pictures`: many recipes into one folder, whatever comes between."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from . import evaluation_options as trials
from . import options
from .console import note, progress
from .drawing_options import picture, references
from .evaluation_options import Listing as COMMAND
from .evaluation_options import named

if TYPE_CHECKING:
    from ..batch import BatchRow, Ledger

__all__ = ["COMMAND", "run"]


def run(
    jobs: Annotated[Path | None, Argument(help="A .jsonl, .csv or .yaml file, a recipe in each row.")] = None,
    styles: trials.Styles = None,
    prompts: trials.Prompts = None,
    seeds: Annotated[str | None, Option(help="first:last such as 1:10, or 1,5,9.")] = None,
    style: options.References = None,
    weight: options.Weights = None,
    combine: Annotated[
        str | None, Option(metavar="average|concat", help="What several references become.")
    ] = None,
    layout: options.LayoutReferences = None,
    negative_style: options.NegativeReferences = None,
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    blocks: Annotated[str | None, Option(help="style, layout, style+layout, all, or blocks by name.")] = None,
    scale: Annotated[float | None, Option(help="How strongly the style acts; 0 is not at all.")] = None,
    mask: options.Mask = None,
    start: Annotated[float | None, Option(help="Share of the steps, 0 to 1, from which it acts.")] = None,
    end: Annotated[float | None, Option(help="Share of the steps until which it acts.")] = None,
    crop: Annotated[str | None, Option(metavar="center|pad|squash", help="How it becomes square.")] = None,
    negative: options.Negative = "",
    seed: Annotated[int, Option(min=0, help="Of rows that name none.")] = 0,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    height: options.Side = None,
    width: options.Side = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    output: Annotated[
        str,
        Option(
            "--out", "--output", "-o", help="A folder, or a URL such as s3://…; begun work is gone on with."
        ),
    ] = "batch",
    batch: Annotated[
        int | None, Option(min=1, help="Pictures drawn at once, halved where memory is short; 1 on a CPU.")
    ] = None,
    retry_failed: Annotated[bool, Option("--retry-failed", help="Try again what failed before.")] = False,
    report: Annotated[bool, Option("--report", help="Write a contact sheet and a page to look at.")] = False,
    backend: Annotated[str, Option(metavar="local|ray", help="Who draws.")] = "local",
    address: Annotated[
        str | None, Option(help="Of a Ray cluster, host:port or auto; without it one is made here.")
    ] = None,
    cpus: Annotated[int | None, Option(min=1, help="Of each of Ray's workers where there is no GPU.")] = None,
    device: options.Device = None,
) -> None:
    """Draw every row of a manifest, or every one of --styles with every one of --prompts and --seeds.

    Options are for what a row leaves out. One faulty row refuses all, before anything is drawn. Stopped at
    any moment and run again it goes on where it was. Exit code 0: all drawn; 1: some failed; 2: refused.
    """
    from ..batch import Ledger, backend_named, write_report

    defaults = named(
        references=references(style, weight) or None,
        combine=combine,
        layout_references=references(layout) or None,
        negative_references=references(negative_style) or None,
        content=tuple(content) if content else None,
        content_scale=content_scale,
        removal=removal,
        blocks=blocks,
        scale=scale,
        mask=mask and picture(mask),
        start=start,
        end=end,
        crop=crop,
        negative_prompt=negative or None,
        seed=seed,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval and guidance_interval.split(":"),
        height=height,
        width=width,
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
    )
    rows = _rows(jobs, styles, prompts, seeds, defaults)
    drawer = backend_named(backend, device, **_of_ray(backend, address, cpus))
    with Ledger.opened(output) as ledger:
        ledger.enter(rows, batch or drawer.size)
        if retry_failed:
            ledger.retry_failed(rows)
        failed = _draw(ledger, rows, drawer)
        print(write_report(ledger.store, rows, ledger.states(rows)) if report else ledger.store)
    if failed:
        raise Exit(1)


def _of_ray(backend: str, address: str | None, cpus: int | None) -> dict[str, Any]:
    from ..errors import JobError

    given = named(address=address, cpus=cpus)
    if given and backend != "ray":
        raise JobError(f"{' and '.join(given)} is for a Ray cluster; add --backend ray.")
    return given


def _rows(
    jobs: Path | None,
    styles: Sequence[Path] | None,
    prompts: Sequence[str] | None,
    seeds: str | None,
    defaults: dict[str, Any],
) -> list["BatchRow"]:
    from ..batch import Refused, crossed, manifest, seeds_of
    from ..errors import JobError
    from ..generation.inputs import read_prompts as read_prompts

    if (jobs is None) == (prompts is None) or (jobs and (styles or seeds)):
        raise JobError(
            "A batch is a manifest, or else --prompts with --styles and --seeds; give one of them."
        )
    try:
        if jobs:
            rows = manifest(jobs, defaults)
        else:
            counted = seeds_of(seeds) if seeds else [defaults["seed"]]
            rows = crossed(styles or (), read_prompts(prompts or ()), counted, defaults)
    except Refused as refused:
        for fault in refused.faults:
            note(fault)
        raise JobError(refused.summary) from None
    return _once_each(rows)


def _once_each(rows: Sequence["BatchRow"]) -> list["BatchRow"]:
    unlike = list({row.key: row for row in rows}.values())
    if repeated := len(rows) - len(unlike):
        note(f"{repeated} of {len(rows)} rows repeat others, and are drawn once")
    return unlike


def _draw(ledger: "Ledger", rows: Sequence["BatchRow"], drawer: Any) -> int:
    """How many rows have failed, now or before; a bar where somebody watches, lines in a log."""
    from ..batch import Progress, draw_rows

    states = [state for state, _ in ledger.states(rows).values()]
    pace = Progress(len(rows), states.count("drawn"), states.count("failed"))
    lacking = states.count("waiting")
    _say_what_is_there(ledger, rows, pace)
    with progress(unit="pictures") as on_picture:
        for outcome in draw_rows(ledger, rows, drawer, tell=note):
            line = pace.count(outcome)
            if on_picture:
                on_picture(pace.settled, lacking)
            if outcome.error or not on_picture:
                note(line)
    note(f"{pace.drawn} of {pace.total} pictures are in {ledger.store}, {pace.failed} failed")
    return pace.failed


def _say_what_is_there(ledger: "Ledger", rows: Sequence["BatchRow"], pace: Any) -> None:
    if pace.drawn:
        note(f"{pace.drawn} of {pace.total} are drawn already")
    if pace.failed:
        note(f"{pace.failed} failed before, and are left alone without --retry-failed")
    if others := ledger.others(rows):
        note(f"{others} more that {ledger.store} knows are not in this manifest; they stay as they are")

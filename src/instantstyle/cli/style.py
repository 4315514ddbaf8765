"""`instantstyle style ink.png --content "a cat" -o ink.style.safetensors`: a style as a file."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..errors import JobError
from . import options
from .console import note

Author = Annotated[str | None, Option(help="Who made it.")]
Licence = Annotated[str | None, Option(help="What others may do with it.")]
Notes = Annotated[str | None, Option(help="What else is to be known of it.")]


def run(
    references: Annotated[list[Path], Argument(help="Pictures, or saved styles to be retuned.")],
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    weight: options.Weights = None,
    combine: options.Combine = "average",
    crop: options.Crop = "center",
    bind: Annotated[
        str | None, Option(metavar="MODEL", help="Make it draw with this model's plain base, say sdxl.")
    ] = None,
    blocks: Annotated[
        str, Option(help="What to bind: a role, all, blocks by name, or a probe.json.")
    ] = "style",
    model: Annotated[str | None, Option(help="Whose encoder sees the pictures; mini, or as --bind.")] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    name: options.Name = None,
    author: Author = None,
    licence: Licence = None,
    notes: Notes = None,
    thumbnail: Annotated[bool, Option(help="Keep a small picture of the references in it.")] = True,
    output: options.StyleOutput = None,
    force: options.Force = False,
) -> None:
    """Save the style of one reference or several as a file, to be drawn with, retuned, mixed and shared.

    Bound to a model, it draws with the plain base: neither adapter nor image encoder need be there. Its
    pictures are not kept, but for a thumbnail.
    """
    from ..core.style_file import check_destination
    from ..generation.generate import load_model, validate_blocks, validate_reference

    if bind and model not in (None, bind):
        raise JobError(f"--bind {bind} makes it with {bind}, and --model says {model}; leave --model out.")
    path = output or Path(f"{references[0].name.partition('.')[0]}.style.safetensors")
    check_destination(path, force=force)
    for reference in references:
        validate_reference(reference)
    if bind:
        validate_blocks(blocks, bind)
    styled = load_model(bind or model or "mini", adapter, image_encoder, device)
    style = styled.style(
        references,
        content=content or None,
        content_scale=content_scale,
        removal=removal,
        crop=crop,
        weights=weight or None,
        combine=combine,
    )
    labels = {"name": name, "author": author, "licence": licence, "notes": notes}
    style = _labelled(
        style, {field: value for field, value in labels.items() if value is not None}, thumbnail
    )
    if content_scale == "auto":
        note(f"content scale: {style.content_scale:g}, chosen by auto")
    print((styled.bind(style, blocks) if bind else style).save(path, force=force))


def _labelled(style: Any, labels: dict[str, str], thumbnail: bool) -> Any:
    from dataclasses import replace

    return replace(style, **labels, **({} if thumbnail else {"thumbnail": b""}))

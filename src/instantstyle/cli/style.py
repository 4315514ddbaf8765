"""`instantstyle style ink.png --content "a cat" -o ink.style.safetensors`: a style as a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from typer import Argument, Option

from ..errors import JobError, suggest_nearest
from . import options
from .console import note
from .file_options import read_adapter
from .mix import note_lost_bindings

if TYPE_CHECKING:
    from ..recipe import Recipe

Author = Annotated[str | None, Option(help="Author of the style.", rich_help_panel=options.OUTPUT)]
Licence = Annotated[str | None, Option(help="Licence of the style.", rich_help_panel=options.OUTPUT)]
Notes = Annotated[str | None, Option(help="Further remarks.", rich_help_panel=options.OUTPUT)]

EXAMPLES = (
    'instantstyle style ink.png --content "a cat" --bind mini -o ink.style.safetensors',
    "instantstyle style ink.png --texture-from neon.png -o blend.style.safetensors",
)


def run(
    references: Annotated[list[Path], Argument(help="Reference images, or saved styles to change.")],
    texture: options.Texture = None,
    colour_scale: options.ColourScale = None,
    texture_scale: options.TextureScale = None,
    keep_grey: Annotated[
        bool,
        Option("--keep-grey", help="Keep what blends with other styles need.", rich_help_panel=options.REFERENCES),
    ] = False,
    content: options.Content = None,
    content_image: options.ContentImage = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    mask_quantile: options.MaskQuantile = None,
    weight: options.Weight = None,
    combine: options.Combine = "average",
    crop: options.Crop = "center",
    bind: Annotated[
        str | None,
        Option(metavar="MODEL", help="Bind the style to this model, for example sdxl.", rich_help_panel="Binding"),
    ] = None,
    blocks: Annotated[
        str, Option(help="Blocks to bind: a role, all, names of blocks, or a probe.json.", rich_help_panel="Binding")
    ] = "style",
    steps: Annotated[
        int | None,
        Option(
            help="For SD3.5: the number of steps with which the style will generate. By default the model's.",
            rich_help_panel="Binding",
            min=1,
        ),
    ] = None,
    model: Annotated[
        str | None,
        Option(help="Model of the image encoder; by default that of --bind, or mini.", rich_help_panel=options.MODEL),
    ] = None,
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    tuned_for: Annotated[
        str | None,
        Option(
            metavar="FUSE",
            help="How it was fused by its maker, add or adain; other calls warn.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    name: options.Name = None,
    author: Author = None,
    licence: Licence = None,
    notes: Notes = None,
    thumbnail: Annotated[
        bool, Option(help="Store a small image of the references in it.", rich_help_panel=options.OUTPUT)
    ] = True,
    output: options.StyleOutput = None,
    force: options.Force = False,
) -> None:
    """Save the style of one or more references as a file that can be used, changed, mixed and shared.

    A style that is bound to a model needs neither adapter nor image encoder there. The file holds no images
    except a thumbnail.
    """
    from dataclasses import replace

    from ..core.style import Style
    from ..core.style_file import check_destination
    from ..generation.load import load_model
    from ..generation.model_parts import ModelParts
    from ..generation.request_checks import check_request
    from ..generation.sources import SourceCache
    from ..generation.validate import validate_blocks
    from ..unet.probe_file import resolve_block_spec

    _check_binding(bind, model, blocks, steps)
    _check_fuse(tuned_for)
    path = output or Path(f"{references[0].name.partition('.')[0]}.style.safetensors")
    check_destination(path, force=force)
    checked = _build_recipe(
        references,
        weight,
        {"texture_references": texture or (), "content_references": content_image or ()},
        content=content or (),
        content_scale=content_scale,
        removal=removal,
        mask_quantile=mask_quantile,
        colour_scale=colour_scale,
        texture_scale=texture_scale,
        combine=combine,
        crop=crop,
    )
    sources = SourceCache()
    for file in checked.style_files():
        sources.read(file.name)
    check_request(checked, sources=sources)
    if bind:
        validate_blocks(blocks, bind)
    styled = load_model(ModelParts(bind or model or "mini", read_adapter(adapter), image_encoder), device)
    style = styled.style(
        references,
        content=[*(content or ()), *(content_image or ())] or None,
        content_scale=content_scale,
        removal=checked.removal,
        mask_quantile=mask_quantile,
        crop=checked.crop,
        weights=weight or None,
        combine=checked.combine,
        texture=texture or None,
        colour_scale=colour_scale,
        texture_scale=texture_scale,
        keep_grey=keep_grey,
    )
    labels = {"tuned_for": tuned_for, "name": name, "author": author, "licence": licence, "notes": notes}
    style = replace(style, **{field: text for field, text in labels.items() if text is not None})
    if not thumbnail:
        style = replace(style, thumbnail=b"")
    if content_scale == "auto":
        note(f"content scale: {style.content_scale:g}, chosen by auto")
    if bind:
        style = styled.bind(style, resolve_block_spec(blocks, styled.architecture), num_inference_steps=steps)
    saved = [read for file in checked.references if isinstance(read := sources.read(file.name), Style)]
    note_lost_bindings(saved, style, path)
    print(style.save(path, force=force))


def _check_binding(bind: str | None, model: str | None, blocks: str, steps: int | None) -> None:
    """Check that the options of a binding have a model to bind to, which is that of the encoder.

    Raises:
        JobError: They do not.
    """
    from ..utils.text import shorten

    if bind and model not in (None, bind):
        raise JobError(f"--bind {bind} and --model {model} name different models; leave --model out.")
    if not bind and blocks != "style":
        raise JobError(f"--blocks {shorten(blocks)} selects the blocks to bind; add --bind MODEL, or leave it out.")
    if not bind and steps is not None:
        raise JobError("--steps is the number of steps for which a style is bound; add --bind MODEL, or leave it out.")


def _check_fuse(tuned_for: str | None) -> None:
    """Raise `JobError` where --tuned-for is no way to fuse."""
    from ..recipe_types import Fuse
    from ..utils.text import shorten

    if tuned_for not in (None, *get_args(Fuse)):
        near = suggest_nearest(tuned_for, get_args(Fuse))
        raise JobError(f"--tuned-for is {shorten(tuned_for)}; it is one of {', '.join(get_args(Fuse))}.{near}")


def _build_recipe(
    references: Sequence[Path],
    weights: Sequence[float] | None,
    others: Mapping[str, Sequence[Path]],
    **fields: object,
) -> "Recipe":
    """Build the recipe of which the options of a style are fields: they have its rules.

    Args:
        references: The references.
        weights: Weight of each; None for 1.
        others: Paths of other fields that name files.
        **fields: The other fields.

    Raises:
        JobError: A field is not valid, or the weights are more or fewer than the references.
    """
    from ..recipe import Recipe

    if weights and len(weights) != len(references):
        raise JobError(f"{len(references)} references have {len(weights)} weights; give one --weight for each.")
    shares = weights or [1.0] * len(references)
    named = [{"name": str(path), "weight": share} for path, share in zip(references, shares, strict=True)]
    files = {field: [{"name": str(path)} for path in paths] for field, paths in others.items()}
    return Recipe.model_validate({"prompt": "", "seed": 0, "references": named, **files, **fields})

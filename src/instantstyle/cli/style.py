"""`instantstyle style ink.png --content "a cat" -o ink.style.safetensors`: a style as a file."""

from pathlib import Path
from typing import Annotated, get_args

from typer import Argument, Option

from ..errors import JobError, suggest_nearest
from . import options
from .console import note
from .file_options import read_adapter
from .mix import note_lost_bindings

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
    from ..recipe import Recipe
    from ..recipe_types import Fuse
    from ..unet.probe_file import resolve_block_spec
    from ..utils.text import shorten

    if bind and model not in (None, bind):
        raise JobError(f"--bind {bind} and --model {model} name different models; leave --model out.")
    if not bind and blocks != "style":
        raise JobError(f"--blocks {shorten(blocks)} selects the blocks to bind; add --bind MODEL, or leave it out.")
    if not bind and steps is not None:
        raise JobError("--steps is the number of steps for which a style is bound; add --bind MODEL, or leave it out.")
    if tuned_for not in (None, *get_args(Fuse)):
        near = suggest_nearest(tuned_for, get_args(Fuse))
        raise JobError(f"--tuned-for is {shorten(tuned_for)}; it is one of {', '.join(get_args(Fuse))}.{near}")
    path = output or Path(f"{references[0].name.partition('.')[0]}.style.safetensors")
    check_destination(path, force=force)
    # The rules for these values are those of a recipe.
    if weight and len(weight) != len(references):
        raise JobError(f"{len(references)} references have {len(weight)} weights; give one --weight for each.")
    weights = weight or [1.0] * len(references)
    fields = {"crop": crop, "combine": combine, "removal": removal, "content": content or ()}
    scales = {"colour_scale": colour_scale, "texture_scale": texture_scale, "mask_quantile": mask_quantile}
    named = [{"name": str(path), "weight": share} for path, share in zip(references, weights, strict=True)]
    others = {"texture_references": texture or (), "content_references": content_image or ()}
    fields |= {field: [{"name": str(path)} for path in paths] for field, paths in others.items()}
    checked = Recipe.model_validate(
        {"prompt": "", "seed": 0, "references": named, "content_scale": content_scale, **scales, **fields}
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

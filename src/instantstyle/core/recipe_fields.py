"""Styles of a call as fields of a recipe."""

# The fields of a style are of any type.
# pyright: reportUnknownVariableType=false

from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING

from ..recipe_types import MAX_ITERATIONS, WORDLESS, Lora, RecipeFields
from ..unet.blocks import BlockOrLayer, BlockSpec
from .conditioning import MaskFile, StyleConditioning
from .frame_weights import FrameWeights
from .inversion import Inversion
from .latent_colours import NOISE, OpenedColours
from .lora_style import LoraStyle
from .protocols import PipelineArguments
from .redux_style import ReduxStyle
from .shared_attention import LATE_BLOCKS, SharedAttention, find_method
from .style import Style
from .style_source import blend_scales, content_identity, is_changed

if TYPE_CHECKING:
    from .pipeline import InstantStyle


def style_fields(style: Style, settings: PipelineArguments, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of a style and its settings; add to `missing` what it cannot record.

    Args:
        style: The style.
        settings: Fields of `StyleConditioning` beside the style.
        missing: Descriptions of what no field records.
    """
    fields: RecipeFields = {
        "blocks": _block_names(settings["blocks"]),
        **{name: float(settings[name]) for name in ("scale", "start", "end")},
        "fuse": settings["fuse"],
        **{name: getattr(style, name) for name in ("content_scale", "removal", "mask_quantile")},
    }
    if style.texture is not None:
        fields |= {name: getattr(style.texture, name) for name in ("colour_scale", "texture_scale")}
    source = style.source
    if source is None:
        # A mix has the weights of its parts in its name.
        is_made = style.texture is not None or " × " in style.name
        advice = "one of its parts has no file, or was changed; save it to a file" if is_made else "pass its path"
        missing.append(f"{style.name} (a reference without a file; {advice})")
    else:
        references = source.references
        if not source.is_mix:
            weighted = zip(references, style.weights, strict=True)
            references = [ref.model_copy(update={"weight": weight}) for ref, weight in weighted]
            fields |= {"combine": style.combine, "crop": style.crop}
        fields |= {"references": tuple(references), "texture_references": source.texture}
        if content_identity(style) != source.removed[0] and style.has_ingredients and style.removal not in WORDLESS:
            fields |= _content_fields(style, missing)
    if (negative := settings["negative_style"]) is not None:
        missing += _list_missing_of_negative(negative, style.crop)
        fields["negative_references"] = negative.source.references if negative.source else ()
    return fields | _place_fields(settings["mask"], settings.get("frames"), missing)


def _place_fields(mask: object, frames: FrameWeights | None, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the mask and the frames in which a style acts."""
    fields: RecipeFields = {}
    if callable(frames):
        missing.append("a function as frames (pass a list)")
    elif frames is not None:
        fields["frame_weights"] = tuple(frames)
    if isinstance(mask, MaskFile):
        fields["mask"] = mask.reference
    elif mask is not None:
        missing.append("a mask without a file")
    return fields


def lora_fields(loras: Sequence[LoraStyle], fields: RecipeFields, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the LoRA files that act in blocks of a call.

    Args:
        loras: The files with their settings.
        fields: The recipe's fields of the model and the styles of the call, with whose mask, steps and frames they
            must act.
        missing: Descriptions of what no field records; added to.
    """
    entries: list[Lora] = []
    places: list[RecipeFields] = []
    for each in loras:
        if each.curve is not None:
            missing.append("curve of a LoraStyle")
        entries.append(
            Lora(
                name=str(each.contents.file.path),
                sha256=each.contents.sha256,
                weight=each.scale,
                blocks=_block_names(each.blocks),
                positive_only=each.positive_only,
            )
        )
        places.append({"start": each.start, "end": each.end, **_place_fields(each.mask, each.frames, missing)})
    if not _agree(fields, *places):
        missing.append("a LoraStyle with steps, mask or frames of its own")
    return {**places[0], "loras": (*fields.get("loras", ()), *entries)}


def redux_fields(styles: Sequence[ReduxStyle], fields: RecipeFields, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the references of Redux in a call.

    Args:
        styles: The references with their settings. Those with scale 0 have no effect.
        fields: The recipe's fields of the model and the styles of the call, with whose mask, steps and crop they
            must act.
        missing: Descriptions of what no field records; added to.
    """
    styles = [style for style in styles if style.scale]
    if not styles:
        return {}
    # Tokens that were replaced in a copy are those of no source.
    sources = [style.source for style in styles if style.source and style.source.tokens is style.tokens]
    images = [source.image for source in sources if source.image is not None and source.is_named]
    if len(images) < len(styles):
        missing.append("a ReduxStyle whose reference, weights or image encoder is no file (pass their paths)")
        return {}
    first, source = styles[0], sources[0]
    places = [{"start": style.start, "end": style.end, **_place_fields(style.mask, None, missing)} for style in styles]
    settings = [(_block_names(style.blocks), style.curve) for style in styles]
    made = [(each.weights and each.weights.sha256, each.encoder_name, each.crop) for each in sources]
    if any(each != settings[0] for each in settings) or any(each != made[0] for each in made):
        missing.append("ReduxStyles with other weights, encoders, crops, blocks or curves than the first one")
    if not _agree(fields, *places) or ("crop" in fields and fields["crop"] != source.crop):
        missing.append("a ReduxStyle with steps, mask or crop of its own")
    scales = [style.scale for style in styles]
    # A product of a common scale and a weight could be rounded.
    is_common = len({*scales}) == 1
    return {
        **places[0],
        "crop": source.crop,
        "redux_references": tuple(
            image.model_copy(update={"weight": 1.0 if is_common else scale})
            for image, scale in zip(images, scales, strict=True)
        ),
        "redux_model": source.weights,
        "redux_image_encoder": source.encoder_name,
        "redux_blocks": settings[0][0],
        "redux_scale": scales[0] if is_common else 1.0,
        "redux_curve": first.curve or (),
    }


def _agree(*parts: RecipeFields) -> bool:
    """Whether all parts of a call that have a place act at the same steps, places and frames."""
    names = ("start", "end", "mask", "frame_weights")
    places = [{name: part[name] for name in names if name in part} for part in parts if "start" in part]
    return all(place == places[0] for place in places)


def call_fields(
    styles: Sequence[Style | StyleConditioning],
    settings: PipelineArguments,
    styled: "InstantStyle",
    missing: list[str],
) -> RecipeFields:
    """Return the recipe's fields of the style of an image, or of its conditioning, or of those for two adapters.

    Args:
        styles: The style, or the conditionings of the call.
        settings: Fields of `StyleConditioning` beside a style.
        styled: The model.
        missing: Descriptions of what no field records; added to.
    """
    if isinstance(styles[0], Style) and not styled.adapter_of(styles[0]):
        return style_fields(styles[0], settings, missing)
    parts = [(each, settings) if isinstance(each, Style) else (each.style, _settings_of(each)) for each in styles]
    by_adapter: dict[str, list[tuple[Style, PipelineArguments]]] = {}
    for style, own in parts:
        if isinstance(style, Style):
            by_adapter.setdefault(styled.adapter_of(style), []).append((style, own))
    further = [builder.name for builder in styled.further[:1] if builder.name in by_adapter]
    unrecorded = any(own.get("unconditional") or own["curve"] is not None for _, own in parts)
    if len(parts) == 1 and "" in by_adapter and not unrecorded:
        return style_fields(*by_adapter[""][0], missing)
    if not further or set(by_adapter) - {"", *further} or len(by_adapter) < len(parts) or unrecorded:
        if unrecorded:
            missing.append("an unconditional StyleConditioning, or one with a curve")
        else:
            is_third = set(by_adapter) - {"", *further}
            missing.append("a style of a third adapter" if is_third else "several StyleConditionings")
        return {}
    fields = style_fields(*by_adapter[""][0], missing) if "" in by_adapter else {}
    return fields | _second_fields(*by_adapter[further[0]][0], fields, missing)


def colour_fields(colours: OpenedColours, fields: RecipeFields, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of a colour transfer.

    Args:
        colours: The transfer.
        fields: The recipe's fields of the model and the styles of the call. The picture is named unless it is the
            only one of their references.
        missing: Descriptions of what no field records; added to.
    """
    settings, file = colours.settings, colours.file
    if not settings.guidance:
        return {}
    if settings.noise != NOISE:
        missing.append(f"latent_colours with another noise than {NOISE:g}")
    if file is None:
        missing.append("latent_colours of a picture without a file (pass its path)")
        return {}
    is_reference = [reference.sha256 for reference in fields.get("references", ())] == [file.sha256]
    return {
        "colour_transfer": float(settings.guidance),
        "colour_image": None if is_reference else file,
        "colour_transfer_interval": (float(settings.start), float(settings.end)),
    }


def inversion_fields(inversion: Inversion, prompt: str | None, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of an image that begins with the inversion of a picture.

    Args:
        inversion: The inversion. A recipe makes it again of the whole picture, with the image's prompt, unguided.
        prompt: Prompt of the image.
        missing: Descriptions of what no field records; added to.
    """
    if inversion.picture is None:
        missing.append("an inversion of a picture without a file, cropped, or with further arguments (pass its path)")
    if prompt is not None and inversion.prompt != prompt:
        missing.append("an inversion with another prompt than that of the image")
    if inversion.guidance_scale != 1:
        missing.append("an inversion with guidance")
    if inversion.iterations > MAX_ITERATIONS:
        missing.append(f"an inversion with more than {MAX_ITERATIONS} iterations")
    return {"image": inversion.picture, "inversion": inversion.iterations}


def set_fields(
    shared: SharedAttention, prompts: Sequence[str], seeds: Sequence[int], same: bool, missing: list[str]
) -> RecipeFields:
    """Return the recipe's fields of self-attention that is shared with the first image of a call.

    Args:
        shared: How it is shared.
        prompts: The prompts of the call.
        seeds: The seeds of its images.
        same: Whether all images have one style and one negative prompt.
        missing: Descriptions of what no field records; added to.
    """
    method = find_method(shared)
    if method is None:
        known = f"SharedAttention() and SharedAttention.swapped({LATE_BLOCKS!r})"
        missing.append(f"a SharedAttention with other settings than those of {known}")
    if not same:
        missing.append("a SharedAttention between images with different styles or negative prompts")
    return {"shared": method, "first_prompt": next(iter(prompts), None), "first_seed": next(iter(seeds), None)}


def _second_fields(style: Style, settings: PipelineArguments, first: RecipeFields, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the style of a second adapter beside those of the first."""
    own = style_fields(style, settings, missing)
    if "negative_references" in own or own.get("texture_references") or is_changed(style):
        missing.append("content, texture or a negative style of the second adapter")
    if own.get("combine", "average") != "average":
        missing.append("references of the second adapter side by side")
    shared = ("start", "end", "fuse", "frame_weights", "mask", "crop")
    # The crop of a saved style is that of its file.
    compared = [name for name in shared if name != "crop" or {"crop"} <= {*first} & {*own}]
    if first and any(first.get(name) != own.get(name) for name in compared):
        missing.append("steps, fuse, mask or crop of the second adapter that are not those of the first")
    return {
        **{name: own[name] for name in shared if name in own},
        "second_references": own.get("references", ()),
        "second_blocks": own["blocks"],
        "second_scale": own["scale"],
    }


def _settings_of(conditioning: StyleConditioning) -> PipelineArguments:
    names = (field.name for field in dataclass_fields(conditioning) if field.name != "style")
    return {name: getattr(conditioning, name) for name in names}


def _content_fields(style: Style, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the content of a style; add to `missing` what is neither words nor a file."""
    count = len(style.content)
    kinds, files = style.content_kinds or ("words",) * count, style.content_files or (None,) * count
    entries = list(zip(style.content, kinds, files, strict=True))
    missing += [
        f"{name} as content (pass a file's path)" for name, kind, file in entries if kind != "words" and file is None
    ]
    return {
        "content": tuple(name for name, kind, _ in entries if kind == "words"),
        "content_references": tuple(file for _, kind, file in entries if kind != "words" and file is not None),
    }


def _block_names(blocks: BlockSpec) -> str | tuple[str, ...] | dict[str, float]:
    if isinstance(blocks, Mapping):
        return {str(block): weight for block, weight in blocks.items()}
    return str(blocks) if isinstance(blocks, str | BlockOrLayer) else tuple(map(str, blocks))


def _list_missing_of_negative(style: Style, crop: str) -> list[str]:
    """Name what a recipe does not record of a negative style: it has one file, cropped as the style is."""
    source = style.source
    if source is None or len(source.references) > 1:
        return ["a negative style without a file"]
    is_blend = bool(source.texture) or source.blend_scales != blend_scales(style)
    removes = not is_blend and is_changed(style)
    return [
        *(["a blend as negative style (save it to a file)"] if is_blend else []),
        *(["content removed from a negative style (save that style to a file)"] if removes else []),
        *(["another crop of a negative style"] if not source.is_mix and style.crop != crop else []),
    ]

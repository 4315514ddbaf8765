"""The recipe of an image as the text of AUTOMATIC1111's web UI."""

import json

from ..recipe import Recipe
from ..recipe_types import WORDLESS, Reference, format_selection


def format_a1111(recipe: Recipe) -> str:
    """Format the recipe as the `parameters` text of AUTOMATIC1111's web UI, which galleries display."""
    negative = [f"Negative prompt: {recipe.negative_prompt}"] if recipe.negative_prompt else []
    settings = {
        "Steps": recipe.num_inference_steps,
        "Sampler": recipe.scheduler,
        "CFG scale": recipe.guidance_scale,
        "True CFG scale": recipe.true_cfg_scale,
        "CFG interval": "{:g}-{:g}".format(*recipe.guidance_interval) if recipe.guidance_interval else None,
        "Seed": recipe.seed,
        "Size": f"{recipe.width}x{recipe.height}" if recipe.width and recipe.height else None,
        "Model": recipe.model,
        "VAE": recipe.vae.name if recipe.vae else None,
        "Motion adapter": recipe.motion_adapter.name if recipe.motion_adapter else None,
        "Frames": recipe.frames,
        "FPS": recipe.fps,
        "Lora": "; ".join(f"{lora.name}: {lora.weight:g}{lora.place}" for lora in recipe.loras) or None,
        # The initial noise is always sampled on the CPU, so that a seed gives the same image everywhere.
        "RNG": "CPU",
        "Denoising strength": recipe.strength if recipe.image else None,
        "Inversion": (recipe.inversion or None) if recipe.image else None,
        "Image scale": (recipe.image_scale or None) if recipe.image else None,
        **_style_settings(recipe),
        **_redux_settings(recipe),
        **_set_settings(recipe),
        "Version": recipe.versions.get("instantstyle"),
    }
    given = ", ".join(f"{name}: {_quote(value)}" for name, value in settings.items() if value is not None)
    return "\n".join([recipe.prompt, *negative, given])


def _second_settings(recipe: Recipe) -> dict[str, object]:
    return {
        "Style second adapter": recipe.second_adapter.name if recipe.second_adapter else None,
        "Style second reference": _join_names(recipe.second_references),
        "Style second blocks": format_selection(recipe.second_blocks),
        "Style second scale": recipe.second_scale,
    }


def _style_settings(recipe: Recipe) -> dict[str, object]:
    if not any((recipe.references, recipe.layout_references, recipe.second_adapter and recipe.second_references)):
        return _acting_settings(recipe) if recipe.styling_loras or recipe.redux_references else {}
    removes = bool(recipe.content or recipe.content_references) or recipe.removal in WORDLESS
    return {
        "Style reference": _join_names(recipe.references),
        "Style texture reference": _join_names(recipe.texture_references),
        "Style colour scale": recipe.colour_scale,
        "Style texture scale": recipe.texture_scale,
        "Style layout reference": _join_names(recipe.layout_references),
        "Style negative reference": _join_names(recipe.negative_references),
        **_acting_settings(recipe),
        "Style content": "; ".join(recipe.content) or None,
        "Style content reference": _join_names(recipe.content_references),
        "Style removal": (recipe.removal or "subtract") if removes else None,
        "Style mask quantile": recipe.mask_quantile,
        "Style colour transfer": recipe.colour_transfer,
        "Style colour image": recipe.colour_image.name if recipe.colour_image else None,
        "Style content scale": recipe.content_scale if removes else None,
        "Style blocks": format_selection(recipe.blocks),
        **(_second_settings(recipe) if recipe.second_adapter else {}),
        "Style scale": recipe.scale,
    }


def _acting_settings(recipe: Recipe) -> dict[str, object]:
    throughout = (recipe.start, recipe.end) == (0, 1)
    return {
        "Style mask": recipe.mask.name if recipe.mask else None,
        "Style steps": None if throughout else f"{recipe.start:g}-{recipe.end:g}",
        "Style fuse": None if recipe.fuse == "add" else recipe.fuse,
        "Style hold layout": recipe.hold_layout or None,
        "Style frames": " ".join(f"{weight:g}" for weight in recipe.frame_weights) or None,
    }


def _redux_settings(recipe: Recipe) -> dict[str, object]:
    if not recipe.redux_references:
        return {}
    return {
        "Redux reference": _join_names(recipe.redux_references),
        "Redux model": recipe.redux_model.name if recipe.redux_model else None,
        "Redux blocks": format_selection(recipe.redux_blocks),
        "Redux scale": recipe.redux_scale,
        "Redux curve": " ".join(f"{factor:g}" for factor in recipe.redux_curve) or None,
    }


def _set_settings(recipe: Recipe) -> dict[str, object]:
    if recipe.shared is None:
        return {}
    return {
        "Shared attention": recipe.shared,
        "Shared attention first prompt": recipe.first_prompt,
        "Shared attention first seed": recipe.first_seed,
    }


def _join_names(references: tuple[Reference, ...]) -> str | None:
    return "; ".join(reference.name for reference in references) or None


def _quote(value: object) -> str:
    """Write a value that contains a separator as a JSON string, as A1111 does."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(mark in text for mark in ",:\n") else text

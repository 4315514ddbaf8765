"""`instantstyle animate "a rocket" --style ink.png --motion-adapter motion -o rocket.gif`: an animation."""

from pathlib import Path

from ..utils.text import slug
from . import options
from .console import note, progress
from .generate_files import load_for_recipes
from .plan import print_plan
from .recipe_options import TEXT_TO_VIDEO, OptionValues, build_recipe, with_recipe_options

EXAMPLES = (
    'instantstyle animate "a rocket" --style ink.png --model sd15 '
    "--motion-adapter guoyww/animatediff-motion-adapter-v1-5-3 -o rocket.gif",
    'instantstyle animate "a rocket" --style ink.png --model sd15 --motion-adapter motion.safetensors --frames 24 '
    "--fps 12 --frame-weights 0:1 -o rocket.mp4",
)


@with_recipe_options(*TEXT_TO_VIDEO)
def run(
    *,
    values: OptionValues,
    device: options.Device = None,
    output: options.AnimationOutput = None,
    force: options.Force = False,
    plan: options.Plan = False,
    verbose: options.Verbose = False,
) -> None:
    """Generate an animation of a prompt in the style of a reference, with AnimateDiff's motion modules.

    --model names one of SD1.5 or SDXL; mini cannot be animated. The style acts alike in all frames, or as strongly as
    --frame-weights says. An .mp4 needs the extra instantstyle[video].
    """
    from ..models.motion_adapter import check_animatable

    check_animatable(values["model"])
    if plan:
        print_plan(values, device)
        return
    from ..generation.generate import animate
    from ..generation.sources import SourceCache
    from ..imaging.animation_file import save_animation, validate_animation_path

    recipe = build_recipe(values)
    path = validate_animation_path(output or Path(f"{slug(recipe.prompt)}-{recipe.seed}.gif"), force=force)
    sources = SourceCache()
    styled = load_for_recipes([recipe], device, sources, verbose=verbose)
    with progress() as on_step:
        frames, completed = animate(styled, recipe, on_step=on_step, sources=sources)
    if recipe.content_scale == "auto":
        note(f"content scale: {completed.content_scale:g}, chosen by auto")
    print(save_animation(frames, path, completed.fps or 0, completed, force=force))

"""`instantstyle generate "a rocket" --style ink.png --content "a cat"`: images from a prompt."""

from . import options
from .command import PromptsCommand as COMMAND
from .generate_files import generate_to_files
from .plan import print_plan
from .recipe_options import REQUIRED, TEXT_TO_IMAGE, OptionValues, RecipeOption, build_recipe, with_recipe_options

__all__ = ["COMMAND", "EXAMPLES", "run"]

EXAMPLES = (
    'instantstyle generate "a rocket" --style ink.png --content "a cat" --seed 7 -o rocket.png',
    'instantstyle generate "a rocket" --style ink.png --style neon.png --weight 0.7 --weight 0.3',
    'instantstyle generate "a rocket" --colours-from ink.png --texture-from neon.png',
    'instantstyle generate "a rocket" --style ink.png --blocks style+layout -n 4',
    'instantstyle generate "a rocket" --style ink.png --fuse adain --hold-layout 0.4',
    'instantstyle generate "a rocket, neon" "a crown" "a fish" --shared',
)


@with_recipe_options(RecipeOption("prompt", options.Prompts, REQUIRED), *TEXT_TO_IMAGE[1:])
def run(
    *,
    values: OptionValues,
    number: options.Number = 1,
    device: options.Device = None,
    output: options.Output = None,
    force: options.Force = False,
    plan: options.Plan = False,
    verbose: options.Verbose = False,
) -> None:
    """Generate images of a prompt in the style of a reference, without the reference's content.

    A reference is an image, a .style.safetensors file, or the name of a style in the library, unless a file
    of that name exists. If all styles are bound, neither adapter nor image encoder is loaded.
    Steps, guidance and size are the model's own defaults unless given. With --shared, image i has seed + i, and all
    but the first take twice the time: each is generated beside the first.
    """
    prompts: list[str] = values["prompt"]
    values = {**values, "prompt": prompts[0]}
    if plan:
        print_plan(values, device, len(prompts) * number)
        return
    recipe = build_recipe(values)
    generate_to_files(
        recipe,
        output=output,
        title=recipe.prompt,
        prompts=prompts,
        number=number,
        device=device,
        force=force,
        verbose=verbose,
    )

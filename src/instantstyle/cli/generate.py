"""`instantstyle generate "a rocket" --style ink.png --content "a cat"`: images from a prompt."""

from . import options
from .generate_files import generate_to_files
from .plan import print_plan
from .recipe_options import TEXT_TO_IMAGE, OptionValues, build_recipe, with_recipe_options

EXAMPLES = (
    'instantstyle generate "a rocket" --style ink.png --content "a cat" --seed 7 -o rocket.png',
    'instantstyle generate "a rocket" --style ink.png --style neon.png --weight 0.7 --weight 0.3',
    'instantstyle generate "a rocket" --colours-from ink.png --texture-from neon.png',
    'instantstyle generate "a rocket" --style ink.png --blocks style+layout -n 4',
)


@with_recipe_options(*TEXT_TO_IMAGE)
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
    Steps, guidance and size are the model's own defaults unless given.
    """
    if plan:
        print_plan(values, device)
        return
    recipe = build_recipe(values)
    generate_to_files(
        recipe, output=output, title=recipe.prompt, number=number, device=device, force=force, verbose=verbose
    )

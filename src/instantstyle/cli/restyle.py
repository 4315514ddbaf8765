"""`instantstyle restyle photo.jpg --style ink.png`: a picture keeps what it shows and takes on a style."""

from . import options
from .drawing_options import draw_to_files, picture, recipe_of, references


def run(
    photo: options.Photo,
    style: options.References,
    prompt: options.Words = "",
    weight: options.Weights = None,
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    blocks: options.Blocks = "style",
    scale: options.Scale = 1.0,
    crop: options.Crop = "center",
    strength: options.Strength = None,
    control: options.Control = "none",
    negative: options.Negative = "",
    seed: options.Seed = None,
    number: options.Number = 1,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    output: options.Output = None,
    force: options.Force = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw a picture anew in the style of a reference, keeping its structure.

    Image-to-image: --strength says how far the result may leave the picture (0.6; with --control canny 1,
    as a ControlNet then holds the edges). The result has the picture's proportions and the model's size.
    """
    from ..imaging.control_image import STRENGTH

    default = 1.0 if control == "canny" else STRENGTH
    recipe = recipe_of(
        seed,
        prompt=prompt,
        negative_prompt=negative,
        references=references(style, weight),
        crop=crop,
        content=tuple(content or ()),
        content_scale=content_scale,
        removal=removal,
        blocks=blocks,
        scale=scale,
        image=picture(photo),
        strength=default if strength is None else strength,
        control=control,
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval and guidance_interval.split(":"),
    )
    named = f"{photo.stem} restyled"
    draw_to_files(
        recipe, output=output, named=named, number=number, device=device, force=force, verbose=verbose
    )

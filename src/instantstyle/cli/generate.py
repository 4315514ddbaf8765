"""`instantstyle generate "a rocket" --style ink.png --content "a cat"`: words in, pictures out."""

from . import options
from .drawing_options import draw_to_files, picture, recipe_of, references, show_plan


def run(
    prompt: options.Prompt,
    style: options.References = None,
    weight: options.Weights = None,
    combine: options.Combine = "average",
    layout: options.LayoutReferences = None,
    negative_style: options.NegativeReferences = None,
    content: options.Content = None,
    content_scale: options.ContentScale = None,
    removal: options.Removal = None,
    blocks: options.Blocks = "style",
    scale: options.Scale = 1.0,
    mask: options.Mask = None,
    start: options.Start = 0.0,
    end: options.End = 1.0,
    crop: options.Crop = "center",
    negative: options.Negative = "",
    seed: options.Seed = None,
    number: options.Number = 1,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_interval: options.GuidanceInterval = None,
    height: options.Side = None,
    width: options.Side = None,
    model: options.Model = "mini",
    adapter: options.Adapter = None,
    image_encoder: options.ImageEncoder = None,
    device: options.Device = None,
    output: options.Output = None,
    force: options.Force = False,
    plan: options.Plan = False,
    verbose: options.Verbose = False,
) -> None:
    """Draw a prompt in the style of a reference, without the reference's subject.

    A reference is a picture, a .style.safetensors file, or the name of a style in the library, unless a file
    of that name is here. Where all styles are bound, neither adapter nor image encoder is loaded.
    Steps, guidance and size are the model's own choice unless given.
    """
    recipe = recipe_of(
        seed,
        prompt=prompt,
        negative_prompt=negative,
        references=references(style, weight),
        combine=combine,
        layout_references=references(layout),
        negative_references=references(negative_style),
        crop=crop,
        content=tuple(content or ()),
        content_scale=content_scale,
        removal=removal,
        blocks=blocks,
        scale=scale,
        mask=mask and picture(mask),
        start=start,
        end=end,
        model=model,
        adapter=adapter,
        image_encoder=image_encoder,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_interval=guidance_interval and guidance_interval.split(":"),
        height=height,
        width=width,
    )
    if plan:
        show_plan(recipe, device)
        return
    draw_to_files(
        recipe, output=output, named=prompt, number=number, device=device, force=force, verbose=verbose
    )

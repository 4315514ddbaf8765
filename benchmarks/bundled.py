"""What does a style cost on the bundled model, against no style and against diffusers' own path?

    python -m benchmarks.bundled -o benchmarks/results/bundled.json

Measures one step of the UNet and one whole image, each without a style, with a style of this package and with
diffusers' IP-Adapter in the same blocks and with the same weights; compares the images; and generates many
images of one style, alternately with this package and with diffusers.
"""

from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import Generator, Tensor
from transformers import CLIPImageProcessorPil

import instantstyle
from benchmarks.rounds import create_parser, median_ratio, parse_positive, time_rounds, write_report
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, sample_scenes, to_pil_image

PROMPT = "a rocket"
ADAPTER = "ip-adapter_mini.safetensors"


def load_mini() -> instantstyle.InstantStyle:
    """Load the bundled model without progress bars."""
    styled = instantstyle.load("mini")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


def load_mini_in_diffusers(styled: instantstyle.InstantStyle) -> Any:
    """Load the bundled model's pipeline with diffusers' own adapter, in the style blocks of `styled`."""
    pipe: Any = load_mini().pipe
    size = styled.image_encoder.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    pipe.register_modules(image_encoder=styled.image_encoder.model, feature_extractor=processor)
    options = {"low_cpu_mem_usage": False, "image_encoder_folder": None}
    pipe.load_ip_adapter(str(MINI_FOLDER), subfolder="", weight_name=ADAPTER, **options)
    pipe.set_ip_adapter_scale(convert_style_blocks(styled))
    return pipe


def convert_style_blocks(styled: instantstyle.InstantStyle) -> dict[str, dict[str, list[float]]]:
    """Convert the style blocks to the argument of diffusers' `set_ip_adapter_scale`."""
    weights = styled.architecture.select("style")
    scales: dict[str, dict[str, list[float]]] = {}
    for block in styled.architecture.blocks:
        part = scales.setdefault(block.stage.removesuffix("_blocks"), {})
        part.setdefault(f"block_{block.index}", []).append(weights.get(block, 0.0))
    scales.pop("mid_block", None)
    return scales


def render_reference() -> Image.Image:
    """Render a scene that was held out from training."""
    generator = Generator().manual_seed(1)
    scenes = sample_scenes(1, generator, MINI_SCOPE, held_out=True)
    return to_pil_image(scenes.render(64, generator)[0])


def image_arms(styled: instantstyle.InstantStyle, diffusers_pipe: Any) -> dict[str, Callable[[], Tensor]]:
    """Return functions that generate one image; diffusers encodes the reference in every call, as always."""
    reference = render_reference()
    style = styled.style(reference)
    arguments: dict[str, Any] = {**styled.defaults, "output_type": "pt"}

    def with_diffusers() -> Tensor:
        generator = Generator().manual_seed(7)
        return diffusers_pipe(PROMPT, ip_adapter_image=reference, generator=generator, **arguments).images

    return {
        "plain": lambda: styled(PROMPT, seed=7, **arguments).images,
        "ours": lambda: styled(PROMPT, style=style, seed=7, **arguments).images,
        "diffusers": with_diffusers,
    }


@torch.no_grad()
def step_arms(styled: instantstyle.InstantStyle, diffusers_pipe: Any, count: int) -> dict[str, Callable[[], None]]:
    """Return functions that run `count` guided steps of the UNet alone, with prepared inputs."""
    pipe: Any = styled.pipe
    unet = pipe.unet
    generator = Generator().manual_seed(0)
    side, channels = unet.config.sample_size, unet.config.in_channels
    sample = torch.randn(2, channels, side, side, generator=generator)
    states, _, pooled, _ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    size = side * pipe.vae_scale_factor
    time_ids = [size, size, 0, 0, size, size]
    added = {"text_embeds": pooled.repeat(2, 1), "time_ids": torch.tensor([time_ids, time_ids]).float()}
    states = states.repeat(2, 1, 1)
    style = styled.style(render_reference())
    embeds = style.embedding()
    image = {"image_embeds": [torch.stack([torch.zeros_like(embeds), embeds])[:, None]]}

    def run(network: Any, conditions: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for number in range(count):
                network(sample, torch.tensor(900 - number), states, added_cond_kwargs=conditions)

    def run_styled() -> None:
        with styled.using(style):
            pipe._guidance_scale = 4.0  # tells the attention processors that the batch has two halves
            run(unet, added)

    return {
        "plain": partial(run, unet, added),
        "ours": run_styled,
        "diffusers": partial(run, diffusers_pipe.unet, added | image),
    }


def summarize_arms(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Compare the times of the three arms."""
    return {
        "ours_to_plain": median_ratio(seconds["ours"], seconds["plain"]),
        "ours_to_diffusers": median_ratio(seconds["ours"], seconds["diffusers"]),
        "plain_seconds": median(seconds["plain"]),
        "ours_seconds": median(seconds["ours"]),
    }


def summarize_pairs(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Sum up the times of many images of one style, and compare them pair by pair."""
    return {
        "pictures": len(seconds["ours"]),
        "ours_seconds": sum(seconds["ours"]),
        "diffusers_seconds": sum(seconds["diffusers"]),
        "ours_to_diffusers": median_ratio(seconds["ours"], seconds["diffusers"]),
    }


def main() -> None:
    """Run the benchmark."""
    question = (__doc__ or "").splitlines()[0]
    parser = create_parser(question, rounds=12)
    parser.add_argument("--steps", type=parse_positive, default=20, help="of the UNet in one timing")
    parser.add_argument("--pictures", type=parse_positive, default=100, help="number of images of one style")
    args = parser.parse_args()
    styled = load_mini()
    diffusers_pipe = load_mini_in_diffusers(styled)
    images = image_arms(styled, diffusers_pipe)
    difference = (images["ours"]() - images["diffusers"]()).abs().max().item()
    pair = {name: images[name] for name in ("ours", "diffusers")}
    results = {
        "step": summarize_arms(time_rounds(step_arms(styled, diffusers_pipe, args.steps), args.rounds)),
        "picture": summarize_arms(time_rounds(images, args.rounds)),
        "many": summarize_pairs(time_rounds(pair, args.pictures)),
        "largest_difference_of_pixels": difference,
    }
    write_report(question, args, results)


if __name__ == "__main__":
    main()

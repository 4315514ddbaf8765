"""What does a style cost on the bundled model, against no style and against diffusers' own path?

    python -m benchmarks.bundled -o benchmarks/results/bundled.json

One step of the network and one whole picture, each plain, styled by us and styled by diffusers' IP-Adapter in
the same blocks, from the same weights; the pictures compared; and many pictures of one style, ours against
diffusers', a pair at a time.
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
from benchmarks.rounds import parser, positive, ratio, report, timed
from instantstyle.models.registry import MINI_FOLDER
from instantstyle.synthetic import MINI_SCOPE, as_image, sample_scenes

PROMPT = "a rocket"
ADAPTER = "ip-adapter_mini.safetensors"


def ours() -> instantstyle.InstantStyle:
    styled = instantstyle.load("mini")
    styled.pipe.set_progress_bar_config(disable=True)
    return styled


def theirs(styled: instantstyle.InstantStyle) -> Any:
    """The same model with diffusers' adapter in it, its scales set to the same blocks."""
    pipe = ours().pipe
    size = styled.image_encoder.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    pipe.register_modules(image_encoder=styled.image_encoder.model, feature_extractor=processor)
    lean = {"low_cpu_mem_usage": False, "image_encoder_folder": None}
    pipe.load_ip_adapter(str(MINI_FOLDER), subfolder="", weight_name=ADAPTER, **lean)
    pipe.set_ip_adapter_scale(scales(styled))
    return pipe


def scales(styled: instantstyle.InstantStyle) -> dict[str, dict[str, list[float]]]:
    """Our style blocks in diffusers' words."""
    chosen = styled.architecture.select("style")
    told: dict[str, dict[str, list[float]]] = {}
    for block in styled.architecture.blocks:
        part = told.setdefault(block.stage.removesuffix("_blocks"), {})
        part.setdefault(f"block_{block.index}", []).append(chosen.get(block, 0.0))
    told.pop("mid_block", None)
    return told


def reference() -> Image.Image:
    """A scene that the model was never trained on."""
    generator = Generator().manual_seed(1)
    return as_image(sample_scenes(1, generator, MINI_SCOPE, held_out=True).pictures(64, generator)[0])


def pictures(styled: instantstyle.InstantStyle, guest: Any) -> dict[str, Callable[[], Tensor]]:
    """One picture, from words to pixels. diffusers sees the reference in every call, as its path does."""
    picture = reference()
    ink = styled.style(picture)
    drawn: dict[str, Any] = {**styled.defaults, "output_type": "pt"}

    def by_diffusers() -> Tensor:
        seed = Generator().manual_seed(7)
        return guest(PROMPT, ip_adapter_image=picture, generator=seed, **drawn).images

    return {
        "plain": lambda: styled(PROMPT, seed=7, **drawn).images,
        "ours": lambda: styled(PROMPT, style=ink, seed=7, **drawn).images,
        "diffusers": by_diffusers,
    }


@torch.no_grad()
def steps(styled: instantstyle.InstantStyle, guest: Any, count: int) -> dict[str, Callable[[], None]]:
    """`count` guided steps of the network alone, its inputs ready."""
    unet = styled.pipe.unet
    generator = Generator().manual_seed(0)
    side, channels = unet.config.sample_size, unet.config.in_channels
    sample = torch.randn(2, channels, side, side, generator=generator)
    words, _, pooled, _ = styled.pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    side_in_pixels = side * styled.pipe.vae_scale_factor
    told = [side_in_pixels, side_in_pixels, 0, 0, side_in_pixels, side_in_pixels]
    added = {"text_embeds": pooled.repeat(2, 1), "time_ids": torch.tensor([told, told]).float()}
    both = words.repeat(2, 1, 1)
    ink = styled.style(reference())
    embeds = ink.embedding()
    image = {"image_embeds": [torch.stack([torch.zeros_like(embeds), embeds])[:, None]]}

    def run(network: Any, conditions: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for number in range(count):
                network(sample, torch.tensor(900 - number), both, added_cond_kwargs=conditions)

    def styled_steps() -> None:
        with styled.using(ink):
            styled.pipe._guidance_scale = 4.0  # what tells our processors that the batch has two halves
            run(unet, added)

    return {
        "plain": partial(run, unet, added),
        "ours": styled_steps,
        "diffusers": partial(run, guest.unet, added | image),
    }


def compared(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    return {
        "ours_to_plain": ratio(seconds["ours"], seconds["plain"]),
        "ours_to_diffusers": ratio(seconds["ours"], seconds["diffusers"]),
        "plain_seconds": median(seconds["plain"]),
        "ours_seconds": median(seconds["ours"]),
    }


def many(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Of so many pictures: what all took, and the median of the pairs."""
    return {
        "pictures": len(seconds["ours"]),
        "ours_seconds": sum(seconds["ours"]),
        "diffusers_seconds": sum(seconds["diffusers"]),
        "ours_to_diffusers": ratio(seconds["ours"], seconds["diffusers"]),
    }


def main() -> None:
    question = (__doc__ or "").splitlines()[0]
    options = parser(question, rounds=12)
    options.add_argument("--steps", type=positive, default=20, help="of the network in one timing")
    options.add_argument("--pictures", type=positive, default=100, help="of one style, ours and diffusers'")
    args = options.parse_args()
    styled = ours()
    guest = theirs(styled)
    drawing = pictures(styled, guest)
    apart = (drawing["ours"]() - drawing["diffusers"]()).abs().max().item()
    pair = {name: drawing[name] for name in ("ours", "diffusers")}
    results = {
        "step": compared(timed(steps(styled, guest, args.steps), args.rounds)),
        "picture": compared(timed(drawing, args.rounds)),
        "many": many(timed(pair, args.pictures)),
        "largest_difference_of_pixels": apart,
    }
    report(question, args, results)


if __name__ == "__main__":
    main()

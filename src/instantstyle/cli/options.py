"""Options that several verbs share: type, flags and help of each, written once.

Names are diffusers' own; a short name stands beside a long one.
"""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, BadParameter, Option


def _parse_content_scale(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise BadParameter(f"{text!r} is neither a number nor auto.") from None


Prompt = Annotated[str, Argument(help="Text to generate an image from.")]
Photo = Annotated[Path, Argument(help="Image to restyle.")]
PhotoPrompt = Annotated[str, Option("--prompt", help="What the image shows; helps to preserve it.")]

Style = Annotated[list[Path] | None, Option("--style", help="Reference image or saved style; may be repeated.")]
Weight = Annotated[list[float] | None, Option("--weight", help="Weight of each reference, in the order of --style.")]
Combine = Annotated[str, Option(metavar="average|concat", help="How several references are combined.")]
Layout = Annotated[list[Path] | None, Option("--layout", help="Reference image for the layout; may be repeated.")]
NegativeStyle = Annotated[
    list[Path] | None, Option("--negative-style", help="Image whose style is avoided; may be repeated.")
]
Content = Annotated[
    list[str] | None, Option(help="What the reference shows and the result should not; may be repeated.")
]
ContentScale = Annotated[
    Any,  # float | Literal["auto"] | None; typer supports no such union
    Option(
        parser=_parse_content_scale,
        metavar="NUMBER|auto",
        help="How much content is removed; auto computes it from the reference.",
    ),
]
Removal = Annotated[
    str | None,
    Option(
        metavar="subtract|project|mask|clean",
        help="How content is removed, by default subtract; clean needs no --content.",
    ),
]
Blocks = Annotated[str, Option(help="style, layout, style+layout, all, names of blocks, or a probe.json.")]
Scale = Annotated[float, Option(help="Strength of the style; 0 switches it off.")]
Mask = Annotated[Path | None, Option(help="Image of any size, white where the style acts.")]
Start = Annotated[float, Option(help="Share of the steps, 0 to 1, from which the style acts.")]
End = Annotated[float, Option(help="Share of the steps, 0 to 1, until which the style acts.")]
Crop = Annotated[str, Option(metavar="center|pad|squash", help="How a reference is made square.")]

Strength = Annotated[float | None, Option(help="How far the result may depart from the image, 0 to 1.")]
Control = Annotated[str, Option(metavar="canny|none", help="ControlNet that preserves the structure.")]

Negative = Annotated[str, Option("--negative", "--negative-prompt", help="Negative prompt.")]
Seed = Annotated[int | None, Option(help="Seed of the noise; random by default.")]
Number = Annotated[int, Option("-n", min=1, help="Number of images; each has the next seed.")]
Steps = Annotated[int | None, Option("--steps", "--num-inference-steps", help="Number of denoising steps.")]
Guidance = Annotated[float | None, Option("--guidance", "--guidance-scale", help="Scale of classifier-free guidance.")]
GuidanceInterval = Annotated[
    str | None,
    Option(metavar="START:END", help="Shares of the steps between which guidance acts, such as 0.2:0.8."),
]
Side = Annotated[int | None, Option(help="In pixels, a multiple of 8.")]

Model = Annotated[str, Option(help="A name from `instantstyle models`, a folder, a hub id or one file.")]
Adapter = Annotated[str | None, Option(help="IP-Adapter file, or the name of a model whose adapter is used.")]
ImageEncoder = Annotated[str | None, Option(help="Folder or file of an image encoder, instead of the model's own.")]
Device = Annotated[str | None, Option(help="cpu, cuda, cuda:1 or mps; by default a GPU if there is one.")]

StyleOutput = Annotated[
    Path | None,
    Option("--output", "-o", help="A .style.safetensors file; by default named after its sources."),
]
Name = Annotated[str | None, Option(help="Name of the style; by default that of the file.")]

Output = Annotated[Path | None, Option("--output", "-o", help="A .png file; by default named by prompt and seed.")]
Force = Annotated[bool, Option("--force", help="Overwrite existing files.")]
Plan = Annotated[bool, Option("--plan", help="Only print what would be loaded, and its memory.")]
Json = Annotated[bool, Option("--json", help="Print JSON for other programs.")]
Verbose = Annotated[bool, Option("--verbose", help="Print which references, blocks and model are used.")]

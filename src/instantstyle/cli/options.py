"""The options that verbs share: each name, type and help once; diffusers' words, and short forms of them."""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, BadParameter, Option


def _amount(text: str) -> float | str:
    """A number, or the word auto."""
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise BadParameter(f"{text!r} is neither a number nor auto.") from None


Prompt = Annotated[str, Argument(help="What to draw.")]
References = Annotated[
    list[Path] | None, Option("--style", help="A picture or a saved style; repeat for several.")
]
Weights = Annotated[
    list[float] | None, Option("--weight", help="How much each reference counts, in their order.")
]
Combine = Annotated[str, Option(metavar="average|concat", help="What several references become.")]
LayoutReferences = Annotated[
    list[Path] | None, Option("--layout", help="A picture whose layout is wanted; may repeat.")
]
NegativeReferences = Annotated[
    list[Path] | None, Option("--negative-style", help="A picture whose style is not wanted; may repeat.")
]
Mask = Annotated[Path | None, Option(help="A picture, white where the style acts; of any size.")]
Start = Annotated[float, Option(help="Share of the steps, 0 to 1, from which the style acts.")]
End = Annotated[float, Option(help="Share of the steps until which it acts.")]
Content = Annotated[list[str] | None, Option(help="What the reference shows, to be left out; may repeat.")]
ContentScale = Annotated[
    Any, Option(parser=_amount, metavar="NUMBER|auto", help="How much is taken out; auto: what is enough.")
]
Removal = Annotated[
    str | None,
    Option(
        metavar="subtract|project|mask|clean",
        help="How content is taken out; subtract unless given. clean needs no --content.",
    ),
]
Blocks = Annotated[str, Option(help="style, layout, style+layout, all, blocks by name, or a probe.json.")]
Scale = Annotated[float, Option(help="How strongly the style acts; 0 is not at all.")]
Crop = Annotated[str, Option(metavar="center|pad|squash", help="How a reference becomes square.")]

Photo = Annotated[Path, Argument(help="The picture to restyle.")]
Words = Annotated[str, Option("--prompt", help="What the picture shows; helps to keep it.")]
Strength = Annotated[float | None, Option(help="How far the result may leave the picture, 0 to 1.")]
Control = Annotated[str, Option(metavar="canny|none", help="What else holds its structure.")]

Negative = Annotated[str, Option("--negative", "--negative-prompt", help="What it should not be.")]
Seed = Annotated[int | None, Option(help="Same seed, same picture; a new one unless given.")]
Number = Annotated[int, Option("-n", min=1, help="Pictures, with seeds counting up.")]
Steps = Annotated[int | None, Option("--steps", "--num-inference-steps", help="Denoising steps.")]
Guidance = Annotated[float | None, Option("--guidance", "--guidance-scale", help="How much the words rule.")]
GuidanceInterval = Annotated[
    str | None,
    Option(metavar="START:END", help="Shares of the steps between which guidance acts, as 0.2:0.8."),
]
Side = Annotated[int | None, Option(help="Pixels.")]

Model = Annotated[str, Option(help="A name from `instantstyle models`, a folder, a hub id or one file.")]
Adapter = Annotated[str | None, Option(help="An adapter file, or the name of a model to take it from.")]
ImageEncoder = Annotated[
    str | None, Option(help="An image encoder's folder or file, instead of the one needed.")
]
Device = Annotated[str | None, Option(help="cpu, cuda, cuda:1, mps; by default a GPU where there is one.")]

StyleOutput = Annotated[
    Path | None,
    Option("--output", "-o", help="A .style.safetensors file; by default named by what it is of."),
]
Name = Annotated[str | None, Option(help="What it is called; by default as the file.")]

Output = Annotated[Path | None, Option("--output", "-o", help="A .png; by default named by prompt and seed.")]
Force = Annotated[bool, Option("--force", help="Overwrite files that exist.")]
Plan = Annotated[bool, Option("--plan", help="Only say what would be loaded, and its memory.")]
Verbose = Annotated[bool, Option("--verbose", help="Say what is done and with what.")]

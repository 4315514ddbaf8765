"""Options that several verbs share: type, flags, help and group of each, written once.

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


REFERENCES = "Style and references"
IMAGE = "Image"
MODEL = "Model"
OUTPUT = "Output"
"""Groups of options in help texts."""

Prompt = Annotated[str, Argument(help="Text to generate an image from.")]
Prompts = Annotated[
    list[str], Argument(metavar="PROMPT...", help="Text to generate an image from; several with --shared.")
]
Photo = Annotated[Path, Argument(help="Image to restyle.")]
PhotoPrompt = Annotated[
    str, Option("--prompt", help="What the image shows; helps to preserve it.", rich_help_panel=IMAGE)
]

Style = Annotated[
    list[Path] | None,
    Option(
        "--style",
        "--colours-from",
        help="Reference image, saved style, or name of a style in the library; may be repeated. With --texture-from, "
        "only its colours are used.",
        rich_help_panel=REFERENCES,
    ),
]
Weight = Annotated[
    list[float] | None,
    Option("--weight", help="Weight of each reference, in their order.", rich_help_panel=REFERENCES),
]
Combine = Annotated[
    str,
    Option(metavar="average|concat|subtract", help="How several references are combined.", rich_help_panel=REFERENCES),
]
Texture = Annotated[
    list[Path] | None,
    Option(
        "--texture-from",
        help="Reference image or saved style whose texture is used, with the references' colours; may be repeated.",
        rich_help_panel=REFERENCES,
    ),
]
ColourScale = Annotated[
    float | None,
    Option(help="How much of the colours, with --texture-from; 1.1 by default.", rich_help_panel=REFERENCES),
]
TextureScale = Annotated[
    float | None,
    Option(help="How much of the texture, with --texture-from; 1 by default.", rich_help_panel=REFERENCES),
]
ColourTransfer = Annotated[
    float | None,
    Option(
        help="How far the latents are given the colours of --style or --colour-image, 0 to 1; SADis has 0.5.",
        rich_help_panel=REFERENCES,
    ),
]
ColourImage = Annotated[
    Path | None, Option(help="Image whose colours they are given, instead of --style's.", rich_help_panel=REFERENCES)
]
ColourTransferInterval = Annotated[
    str | None,
    Option(
        metavar="START:END",
        help="Shares of the steps between which they are, by default 0.2:0.3.",
        rich_help_panel=REFERENCES,
    ),
]
Layout = Annotated[
    list[Path] | None,
    Option("--layout", help="Reference image for the layout; may be repeated.", rich_help_panel=REFERENCES),
]
NegativeStyle = Annotated[
    list[Path] | None,
    Option("--negative-style", help="Image whose style is avoided; may be repeated.", rich_help_panel=REFERENCES),
]
Content = Annotated[
    list[str] | None,
    Option(help="What the reference shows and the result should not; may be repeated.", rich_help_panel=REFERENCES),
]
ContentImage = Annotated[
    list[Path] | None,
    Option(
        "--content-image",
        help="Image or saved style that shows what is to be removed; may be repeated.",
        rich_help_panel=REFERENCES,
    ),
]
ContentScale = Annotated[
    Any,  # float | Literal["auto"] | None; typer supports no such union
    Option(
        parser=_parse_content_scale,
        metavar="NUMBER|auto",
        help="How much content is removed; auto computes it from the reference.",
        rich_help_panel=REFERENCES,
    ),
]
Removal = Annotated[
    str | None,
    Option(
        metavar="subtract|project|mask|clean|cleanstyle",
        help="How content is removed, by default subtract; clean and cleanstyle need no --content.",
        rich_help_panel=REFERENCES,
    ),
]
MaskQuantile = Annotated[
    float | None,
    Option(
        help="With --removal mask, the share of the embedding's elements that is kept; by default two clusters.",
        rich_help_panel=REFERENCES,
    ),
]
Blocks = Annotated[
    str,
    Option(
        help="Where the style acts: style, layout, all, weights such as ease-in, the name of a block or layer, or a "
        "probe.json; several joined by +, such as style+layout. `instantstyle blocks sdxl` lists the names.",
        rich_help_panel=REFERENCES,
    ),
]
Scale = Annotated[float, Option(help="Strength of the style; 0 switches it off.", rich_help_panel=REFERENCES)]
Mask = Annotated[
    Path | None, Option(help="Image of any size, white where the style acts.", rich_help_panel=REFERENCES)
]
Start = Annotated[
    float, Option(help="Share of the steps, 0 to 1, from which the style acts.", rich_help_panel=REFERENCES)
]
End = Annotated[
    float, Option(help="Share of the steps, 0 to 1, until which the style acts.", rich_help_panel=REFERENCES)
]
Fuse = Annotated[
    str,
    Option(
        metavar="add|adain",
        help="How the style is joined to the text: added, or as the mean and deviation of the text's attention.",
        rich_help_panel=REFERENCES,
    ),
]
HoldLayout = Annotated[
    float,
    Option(
        help="Share of the steps, such as 0.4, in which the layout is that without a style; they cost twice as much.",
        rich_help_panel=REFERENCES,
    ),
]
Shared = Annotated[
    bool | None,
    Option(
        "--shared/--swapped",
        help="Give all images the look of the first one, without a reference: they attend to it beside themselves, or "
        "instead of themselves in the up blocks.",
        show_default=False,
        rich_help_panel=REFERENCES,
    ),
]
FirstPrompt = Annotated[
    str | None,
    Option(
        help="With --shared, prompt of an earlier image, whose look these images get too.", rich_help_panel=REFERENCES
    ),
]
FirstSeed = Annotated[int | None, Option(help="Seed of that image.", rich_help_panel=REFERENCES)]
Crop = Annotated[
    str, Option(metavar="center|pad|squash", help="How a reference is made square.", rich_help_panel=REFERENCES)
]

Strength = Annotated[
    float | None, Option(help="How far the result may depart from the image, 0 to 1.", rich_help_panel=IMAGE)
]
Control = Annotated[
    str,
    Option(
        metavar="canny|tile|none",
        help="ControlNet that preserves the structure: its edges or the image.",
        rich_help_panel=IMAGE,
    ),
]

KeepContent = Annotated[
    bool,
    Option(
        "--keep-content",
        help="Draw from the image's DDIM inversion, with the image itself in all blocks (InstantStyle-Plus).",
        rich_help_panel=IMAGE,
    ),
]
Inversion = Annotated[
    int | None,
    Option(
        help="Evaluations at each step of the inversion, 0 for none; 3 with --keep-content.", rich_help_panel=IMAGE
    ),
]
ImageScale = Annotated[
    float | None,
    Option(
        help="Scale of the image as a reference in all blocks, 0 for none; 0.2 with --keep-content.",
        rich_help_panel=IMAGE,
    ),
]

Negative = Annotated[str, Option("--negative", "--negative-prompt", help="Negative prompt.", rich_help_panel=IMAGE)]
Seed = Annotated[int | None, Option(help="Seed of the noise; random by default.", rich_help_panel=IMAGE)]
Number = Annotated[
    int,
    Option("-n", "--number", min=1, max=1000, help="Number of images; each has the next seed.", rich_help_panel=IMAGE),
]
Steps = Annotated[
    int | None,
    Option("--steps", "--num-inference-steps", help="Number of denoising steps.", rich_help_panel=IMAGE),
]
Guidance = Annotated[
    float | None,
    Option("--guidance", "--guidance-scale", help="Scale of classifier-free guidance.", rich_help_panel=IMAGE),
]
TrueGuidance = Annotated[
    float | None,
    Option(
        "--true-guidance",
        "--true-cfg-scale",
        help="Scale of classifier-free guidance with a model whose own guidance is distilled, such as FLUX.1; above "
        "1, a negative prompt or style acts, in twice the time.",
        rich_help_panel=IMAGE,
    ),
]
GuidanceInterval = Annotated[
    str | None,
    Option(
        metavar="START:END",
        help="Shares of the steps between which guidance acts, such as 0.2:0.8.",
        rich_help_panel=IMAGE,
    ),
]
Side = Annotated[int | None, Option(help="In pixels, a multiple of 8.", rich_help_panel=IMAGE)]

Model = Annotated[
    str,
    Option(help="A name from `instantstyle models`, a folder, a hub id or one file.", rich_help_panel=MODEL),
]
Adapter = Annotated[
    str | None,
    Option(help="IP-Adapter file, or the name of a model whose adapter is used.", rich_help_panel=MODEL),
]
ImageEncoder = Annotated[
    str | None,
    Option(help="Folder or file of an image encoder, instead of the model's own.", rich_help_panel=MODEL),
]
SecondAdapter = Annotated[
    str | None,
    Option(
        help="Adapter that acts beside the first: its file, or the name of a model whose adapter is used.",
        rich_help_panel=MODEL,
    ),
]
SecondImageEncoder = Annotated[
    str | None,
    Option(help="Image encoder of the second adapter, instead of the one that it needs.", rich_help_panel=MODEL),
]
SecondStyle = Annotated[
    list[Path] | None,
    Option(
        "--second-style",
        help="Reference of the second adapter, instead of those of --style; may be repeated.",
        rich_help_panel=REFERENCES,
    ),
]
SecondBlocks = Annotated[str, Option(help="Where the second adapter acts, as --blocks.", rich_help_panel=REFERENCES)]
SecondScale = Annotated[float, Option(help="Strength of the second adapter.", rich_help_panel=REFERENCES)]
Redux = Annotated[
    list[Path] | None,
    Option(
        "--redux",
        help="With FLUX.1: image whose tokens by FLUX.1 Redux are read beside those of the prompt; may be repeated.",
        rich_help_panel=REFERENCES,
    ),
]
ReduxBlocks = Annotated[
    str, Option(help="Where these tokens are read, as --blocks, of all blocks of FLUX.1.", rich_help_panel=REFERENCES)
]
ReduxScale = Annotated[
    float, Option(help="Weight of these tokens: 1 is Redux as published, 0 none.", rich_help_panel=REFERENCES)
]
ReduxCurve = Annotated[
    str | None,
    Option(
        metavar="FIRST:…:LAST",
        help="Factors on --redux-scale over the steps, such as 0:1 for tokens that come in.",
        rich_help_panel=REFERENCES,
    ),
]
ReduxModel = Annotated[
    str | None,
    Option(
        help="Weights of FLUX.1 Redux: a file, folder or hub id, instead of black-forest-labs/FLUX.1-Redux-dev.",
        rich_help_panel=MODEL,
    ),
]
ReduxImageEncoder = Annotated[
    str | None,
    Option(help="Folder or file of the image encoder of FLUX.1 Redux, instead of SigLIP's.", rich_help_panel=MODEL),
]
LoraFiles = Annotated[
    list[str] | None,
    Option(
        metavar="FILE[=WEIGHT][@BLOCKS]",
        help="A LoRA, such as ink.safetensors=0.7, or in some blocks ink.safetensors@style (@style:positive without "
        "the unconditional half); repeat for several.",
        rich_help_panel=MODEL,
    ),
]
Vae = Annotated[
    str | None, Option(help="File, folder or hub id of a VAE, instead of the model's own.", rich_help_panel=MODEL)
]
Scheduler = Annotated[
    str | None,
    Option(
        help="Such as euler, dpm++2m-karras or lcm, or a class of diffusers, instead of the model's own.",
        rich_help_panel=MODEL,
    ),
]
MotionAdapter = Annotated[
    str,
    Option(help="File, folder or hub id of a motion adapter of AnimateDiff for this base.", rich_help_panel=MODEL),
]
Frames = Annotated[
    int | None,
    Option(help="Number of frames, 16 by default; motion adapters allow 24 or 32.", rich_help_panel=IMAGE),
]
Fps = Annotated[float | None, Option(help="Frames a second, 8 by default.", rich_help_panel=IMAGE)]
FrameWeights = Annotated[
    str | None,
    Option(
        metavar="FIRST:…:LAST",
        help="Factors on --scale over the frames, such as 0:1 for a style that comes in.",
        rich_help_panel=REFERENCES,
    ),
]
Device = Annotated[
    str | None, Option(help="cpu, cuda, cuda:1 or mps; by default a GPU if there is one.", rich_help_panel=MODEL)
]

ReferenceFolders = Annotated[
    list[Path] | None,
    Option(metavar="DIR", help="A folder with its references; may be repeated.", rich_help_panel=REFERENCES),
]

StyleOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        help="A .style.safetensors file; by default named after its sources.",
        rich_help_panel=OUTPUT,
    ),
]
Name = Annotated[str | None, Option(help="Name of the style; by default that of the file.", rich_help_panel=OUTPUT)]

Output = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        help="A .png, .jpg or .webp file, which carries the recipe; by default a .png named by prompt and seed.",
        rich_help_panel=OUTPUT,
    ),
]
AnimationOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        help="A .gif, .mp4, .webp or .png file, which carries the recipe; by default a .gif named by prompt and seed.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[bool, Option("--force", help="Overwrite existing files.", rich_help_panel=OUTPUT)]
Plan = Annotated[
    bool, Option("--plan", help="Only print what would be loaded, and its memory.", rich_help_panel=OUTPUT)
]
Json = Annotated[bool, Option("--json", help="Print JSON for other programs.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool, Option("--verbose", help="Print which references, blocks and model are used.", rich_help_panel=OUTPUT)
]

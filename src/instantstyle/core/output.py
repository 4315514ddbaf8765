"""Images of a call, which can be saved with the recipe that reproduces them."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ..errors import JobError
from ..imaging.image_file import save_image
from ..recipe import Dtype, Recipe, RecipeFields
from ..unet.blocks import Block, BlockSpec
from ..utils.versions import library_versions
from .conditioning import MaskFile
from .protocols import PipelineArguments
from .style import Style

if TYPE_CHECKING:
    from .conditioning import StyleConditioning
    from .pipeline import InstantStyle

RECORDED_ARGUMENTS = ("negative_prompt", "num_inference_steps", "guidance_scale", "height", "width")
"""Arguments of a pipeline that a recipe has fields for."""

IGNORED_ARGUMENTS = (
    "callback_on_step_end",
    "callback_on_step_end_tensor_inputs",
    "output_type",
    "return_dict",
)
"""Arguments of a pipeline that do not change an image."""


@dataclass(frozen=True, eq=False)
class CallRecord:
    """The arguments of a call, and what a recipe records of the pipeline at that time."""

    styled: "InstantStyle"
    prompt: str | Sequence[str] | None
    styles: "Style | Sequence[Style] | Sequence[StyleConditioning] | None"
    settings: PipelineArguments
    """Fields of `StyleConditioning` beside the style."""
    guidance_interval: tuple[float, float] | None
    seeds: Sequence[int]
    num_images_per_prompt: int
    arguments: PipelineArguments
    guidance_scale: float | None
    scheduler: str
    dtype: str

    @classmethod
    def of(
        cls,
        styled: "InstantStyle",
        prompt: str | Sequence[str] | None,
        styles: "Style | Sequence[Style] | Sequence[StyleConditioning] | None",
        settings: PipelineArguments,
        guidance_interval: tuple[float, float] | None,
        seeds: Sequence[int],
        num_images_per_prompt: int,
        arguments: PipelineArguments,
    ) -> "CallRecord":
        """Record a call, with guidance scale, scheduler and dtype at once, as later calls may change them."""
        return cls(
            *(styled, prompt, styles, settings, guidance_interval, seeds, num_images_per_prompt, arguments),
            guidance_scale=getattr(styled.pipe, "guidance_scale", None),
            scheduler=type(styled.pipe.scheduler).__name__,
            dtype=str(styled.pipe.unet.dtype).removeprefix("torch."),
        )

    def recipe(self, index: int, image: Image.Image) -> Recipe:
        """Build the recipe of one image.

        Args:
            index: Number of the image in the call, from 0.
            image: The image, for its size.

        Raises:
            JobError: The call has arguments that no recipe field records; the message lists them.
        """
        model, place = self.styled.recipe_fields, index // self.num_images_per_prompt
        prompts = [self.prompt] if isinstance(self.prompt, str) else list(self.prompt or [])
        styles = [self.styles] if isinstance(self.styles, Style) else list(self.styles or [])
        style = styles[place if len(styles) > 1 else 0] if styles else None
        missing = [
            *([] if model else ["a pipeline without a name to load it by (use instantstyle.load)"]),
            *([] if prompts else ["prompt_embeds"]),
            *([] if self.seeds else ["a generator (use seed=)"]),
            *([] if self.settings["curve"] is None else ["curve"]),
            *sorted({*self.arguments} - {*RECORDED_ARGUMENTS, *IGNORED_ARGUMENTS, "generator", "prompt_embeds"}),
        ]
        fields: RecipeFields = {**(model or {})}
        if style is not None:
            if isinstance(style, Style):
                fields |= self._style_fields(style, missing)
            else:
                missing.append("StyleConditioning")
        if missing:
            raise JobError(
                f"A recipe does not record {', '.join(missing)}; save the image without one: .images[0].save(…)."
            )
        negative = self.arguments.get("negative_prompt") or ""
        steps = signature(self.styled.pipe.__call__).parameters["num_inference_steps"].default
        return Recipe(
            prompt=prompts[place],
            negative_prompt=negative if isinstance(negative, str) else negative[place],
            seed=self.seeds[index],
            num_inference_steps=self.arguments.get("num_inference_steps", steps),
            guidance_interval=self.guidance_interval,
            guidance_scale=self.guidance_scale,
            scheduler=self.scheduler,
            dtype=cast(Dtype, self.dtype),
            height=image.height,
            width=image.width,
            versions=library_versions(),
            **fields,
        )

    def _style_fields(self, style: Style, missing: list[str]) -> RecipeFields:
        """Return the recipe's fields of a style and its settings; add to `missing` what it cannot record."""
        fields: RecipeFields = {
            "blocks": _block_names(self.settings["blocks"]),
            **{name: self.settings[name] for name in ("scale", "start", "end")},
            **{"content_scale": style.content_scale, "removal": style.removal},
        }
        source = style.source
        if source is None:
            missing.append(f"{style.name} (a reference without a file; pass its path)")
        else:
            references = source.references
            if not source.is_mix:
                weighted = zip(references, style.weights, strict=True)
                references = [ref.model_copy(update={"weight": weight}) for ref, weight in weighted]
                fields |= {"combine": style.combine, "crop": style.crop}
            fields["references"] = tuple(references)
            if style.content != source.removed[0] and style.removal != "clean":
                fields["content"] = style.content
        if (negative := self.settings["negative_style"]) is not None:
            if negative.source is None or len(negative.source.references) > 1:
                missing.append("a negative style without a file")
            else:
                fields["negative_references"] = negative.source.references
        if (mask := self.settings["mask"]) is not None:
            if isinstance(mask, MaskFile):
                fields["mask"] = mask.reference
            else:
                missing.append("a mask without a file")
        return fields


@dataclass(frozen=True, eq=False)
class StyledOutput:
    """Images of a call. Other fields of the pipeline's own output are attributes too."""

    images: Any
    """A list of PIL images, or an array or tensor, as `output_type` selects."""
    pipeline_output: object
    """What the pipeline returned."""
    record: CallRecord = field(repr=False)

    def recipe(self, index: int = 0) -> Recipe:
        """Return the recipe of one image.

        Args:
            index: Number of the image, from 0.

        Raises:
            JobError: A recipe cannot record this call: a reference or mask is not a file, the pipeline was not
                made by `instantstyle.load`, or an argument has no field in a recipe.
        """
        image = self.images[index]
        if not isinstance(image, Image.Image):
            raise JobError("Only PIL images carry a recipe; leave output_type out.")
        return self.record.recipe(index, image)

    def save(self, path: str | Path, index: int = 0, *, force: bool = False) -> Path:
        """Write one image as a file that carries its recipe: `instantstyle reproduce` generates it again.

        Args:
            path: A path that ends in .png, .jpg or .webp. Its folder is made if necessary.
            index: Number of the image, from 0.
            force: Whether to replace an existing file.

        Returns:
            The path.

        Raises:
            JobError: As `recipe`, or the file cannot be written there.
        """
        return save_image(self.images[index], path, self.recipe(index), force=force)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipeline_output, name)


def _block_names(blocks: BlockSpec) -> str | tuple[str, ...] | dict[str, float]:
    if isinstance(blocks, Mapping):
        return {str(block): weight for block, weight in blocks.items()}
    return str(blocks) if isinstance(blocks, str | Block) else tuple(map(str, blocks))

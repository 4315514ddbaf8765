"""Images of a call, which can be saved with the recipe that reproduces them."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ..errors import JobError
from ..imaging.image_file import save_image
from ..recipe import WORDLESS, Dtype, Recipe, RecipeFields
from ..unet.blocks import BlockOrLayer, BlockSpec
from ..utils.versions import library_versions
from .conditioning import MaskFile
from .injection import StyledUNet
from .pipeline_call import only_reads
from .pipeline_state import PipelineState, watch_callback
from .protocols import PipelineArguments
from .style import Style
from .style_source import blend_scales, removed

if TYPE_CHECKING:
    from .conditioning import StyleConditioning
    from .pipeline import InstantStyle

RECORDED_ARGUMENTS = ("negative_prompt", "num_inference_steps", "guidance_scale", "height", "width")
"""Arguments of a pipeline that a recipe has fields for."""

CALLBACK = "callback_on_step_end"

IGNORED_ARGUMENTS = (CALLBACK, f"{CALLBACK}_tensor_inputs", "output_type", "return_dict")
"""Arguments of a pipeline that do not change an image; a callback is watched while it runs."""


@dataclass(frozen=True, eq=False)
class CallRecord:
    """The arguments of a call, and what a recipe records of the pipeline at that time.

    It holds copies, so that later changes of the caller's lists and mappings, files and pipeline have no effect.
    """

    styled: "InstantStyle"
    recipe_fields: Mapping[str, object] | None
    prompts: tuple[str, ...]
    styles: "tuple[Style | StyleConditioning, ...]"
    settings: PipelineArguments
    """Fields of `StyleConditioning` beside the style."""
    guidance_interval: tuple[float, float] | None
    seeds: tuple[int, ...]
    num_images_per_prompt: int
    arguments: PipelineArguments
    scheduler: str
    dtype: str
    changes: dict[str, None] = field(default_factory=dict[str, None])
    """What changed the images and is in no argument, in the order in which it was found."""

    @classmethod
    def of(
        cls,
        styled: "InstantStyle",
        prompt: str | Sequence[str] | None,
        styles: "Style | Sequence[Style] | Sequence[StyleConditioning] | None",
        settings: PipelineArguments,
        guidance_interval: Sequence[float] | None,
        seeds: Sequence[int],
        num_images_per_prompt: int,
        arguments: PipelineArguments,
    ) -> "CallRecord":
        """Record a call before it runs."""
        start, end = guidance_interval if guidance_interval is not None else (0.0, 1.0)
        return cls(
            styled,
            dict(styled.recipe_fields) if styled.recipe_fields else None,
            (prompt,) if isinstance(prompt, str) else tuple(prompt or ()),
            (styles,) if isinstance(styles, Style) else tuple(styles or ()),
            settings,
            None if guidance_interval is None else (float(start), float(end)),
            tuple(seeds),
            num_images_per_prompt,
            {name: list(value) if isinstance(value, list) else value for name, value in arguments.items()},
            scheduler=type(styled.pipe.scheduler).__name__,
            dtype=str(styled.pipe.unet.dtype).removeprefix("torch."),
        )

    @contextmanager
    def watch(self, arguments: PipelineArguments) -> Generator[PipelineArguments]:
        """Find what changes the images besides the arguments, inside the `with` block.

        Args:
            arguments: Arguments of the pipeline.

        Yields:
            The arguments to pass to it instead.
        """
        loaded, given = self.styled.loaded_state, arguments.get(CALLBACK)
        callback = None if only_reads(given) else given
        if loaded is None or not self.recipe_fields:
            yield arguments
            return
        if StyledUNet.of(self.styled.pipe.unet).has_injections:
            self.changes["a style of a `using` block around the call"] = None
        if callback is not None and type(callback).__module__.startswith("diffusers."):
            self.changes[f"{CALLBACK} ({type(callback).__name__})"] = None
        elif callable(callback):
            watched = watch_callback(
                callback, lambda name: self.changes.update({f"{name} that {CALLBACK} changed": None})
            )
            arguments = {**arguments, CALLBACK: watched}
        self._add_changes(loaded)
        yield arguments
        if callback is not None:
            # It may have changed the pipeline.
            self._add_changes(loaded)

    def _add_changes(self, loaded: PipelineState) -> None:
        self.changes.update(dict.fromkeys(loaded.list_changes(PipelineState.of(self.styled.pipe))))

    def recipe(self, index: int, image: Image.Image) -> Recipe:
        """Build the recipe of one image.

        Args:
            index: Number of the image in the call, from 0.
            image: The image, for its size.

        Raises:
            JobError: The call has arguments that no recipe field records; the message lists them.
        """
        place, pipe = index // self.num_images_per_prompt, self.styled.pipe
        style = self.styles[place if len(self.styles) > 1 else 0] if self.styles else None
        negative = self.arguments.get("negative_prompt")
        negative = negative if negative is None or isinstance(negative, str) else negative[place]
        missing = [
            *([] if self.recipe_fields else ["a pipeline without a name to load it by (use instantstyle.load)"]),
            *([] if self.prompts else ["prompt_embeds"]),
            *([] if self.seeds else ["a generator (use seed=)"]),
            *([] if self.settings["curve"] is None else ["curve"]),
            *([] if negative != "" or not _distinguishes_empty(pipe) else ["an empty negative_prompt (leave it out)"]),
            *sorted({*self.arguments} - {*RECORDED_ARGUMENTS, *IGNORED_ARGUMENTS, "generator", "prompt_embeds"}),
            *self.changes,
        ]
        fields: RecipeFields = {**(self.recipe_fields or {})}
        if style is not None:
            if isinstance(style, Style):
                fields |= self._style_fields(style, missing)
            else:
                missing.append("StyleConditioning")
        if missing:
            raise JobError(
                f"A recipe does not record {', '.join(missing)}; save the image without one: .images[0].save(…)."
            )
        chosen = cast("str | None", fields.pop("scheduler", None))
        defaults = {name: each.default for name, each in signature(pipe.__call__).parameters.items()}
        guidance = {**defaults, **self.arguments}.get("guidance_scale")
        return Recipe(
            prompt=self.prompts[place],
            negative_prompt=negative or "",
            seed=self.seeds[index],
            num_inference_steps=int({**defaults, **self.arguments}["num_inference_steps"]),
            guidance_interval=self.guidance_interval,
            guidance_scale=None if guidance is None else float(guidance),
            scheduler=chosen or self.scheduler,
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
            **{name: float(self.settings[name]) for name in ("scale", "start", "end")},
            **{name: getattr(style, name) for name in ("content_scale", "removal", "mask_quantile")},
        }
        if style.texture is not None:
            fields |= {name: getattr(style.texture, name) for name in ("colour_scale", "texture_scale")}
        source = style.source
        if source is None:
            missing.append(f"{style.name} (a reference without a file; pass its path)")
        else:
            references = source.references
            if not source.is_mix:
                weighted = zip(references, style.weights, strict=True)
                references = [ref.model_copy(update={"weight": weight}) for ref, weight in weighted]
                fields |= {"combine": style.combine, "crop": style.crop}
            fields |= {"references": tuple(references), "texture_references": source.texture}
            if style.content != source.removed[0] and style.removal not in WORDLESS:
                fields |= _content_fields(style, missing)
        if (negative := self.settings["negative_style"]) is not None:
            missing += _list_missing_of_negative(negative, style.crop)
            fields["negative_references"] = negative.source.references if negative.source else ()
        if (mask := self.settings["mask"]) is not None:
            if isinstance(mask, MaskFile):
                fields["mask"] = mask.reference
            else:
                missing.append("a mask without a file")
        return fields


def _content_fields(style: Style, missing: list[str]) -> RecipeFields:
    """Return the recipe's fields of the content of a style; add to `missing` what is neither words nor a file."""
    count = len(style.content)
    kinds, files = style.content_kinds or ("words",) * count, style.content_files or (None,) * count
    entries = list(zip(style.content, kinds, files, strict=True))
    missing += [
        f"{name} as content (pass a file's path)" for name, kind, file in entries if kind != "words" and file is None
    ]
    return {
        "content": tuple(name for name, kind, _ in entries if kind == "words"),
        "content_references": tuple(file for _, kind, file in entries if kind != "words" and file is not None),
    }


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
    return str(blocks) if isinstance(blocks, str | BlockOrLayer) else tuple(map(str, blocks))


def _list_missing_of_negative(style: Style, crop: str) -> list[str]:
    """Name what a recipe does not record of a negative style: it has one file, cropped as the style is."""
    source = style.source
    if source is None or len(source.references) > 1:
        return ["a negative style without a file"]
    removes = (style.content or style.removal in WORDLESS) and removed(style) != source.removed
    is_blend = bool(source.texture) or source.blend_scales != blend_scales(style)
    return [
        *(["a blend as negative style (save it to a file)"] if is_blend else []),
        *(["content removed from a negative style (save that style to a file)"] if removes else []),
        *(["another crop of a negative style"] if not source.is_mix and style.crop != crop else []),
    ]


def _distinguishes_empty(pipe: Any) -> bool:
    """Whether an empty negative prompt gives other images than none, as SDXL's does."""
    return bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))

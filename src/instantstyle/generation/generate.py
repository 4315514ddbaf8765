"""Generate images from recipes: the one path behind the command line, server, studio and batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ..imaging.animation_file import DEFAULT_FPS
from ..recipe import ANIMATION_FIELDS, BLOCK_FIELDS, INVERTIBLE, REDUX_FIELDS, Recipe
from ..recipe_types import RecipeFields
from ..unet.probe_file import resolve_block_spec
from ..utils.versions import library_versions
from .call_arguments import colour_arguments, default_size, default_steps, image_arguments, pipeline_arguments
from .callbacks import OnPreview, OnStep, StepCallback, step_callback
from .hints import warn_of_content
from .idle_fields import refuse_animation
from .keep_content import fill_in_start
from .recipe_styles import make_conditionings, make_lora_styles, make_redux_styles, name_redux_model
from .request_checks import check_seeds
from .sources import SourceCache
from .vae_tiling import tile_large_images

if TYPE_CHECKING:
    from ..core.conditioning import StyleConditioning
    from ..core.lora_style import LoraStyle
    from ..core.pipeline import InstantStyle
    from ..core.protocols import PipelineArguments
    from ..core.redux_style import ReduxStyle
    from ..core.style import Style
    from ..unet.architectures import Architecture


def generate(
    styled: "InstantStyle",
    recipe: Recipe,
    *,
    count: int = 1,
    prompts: Sequence[str] = (),
    on_step: OnStep | None = None,
    on_preview: OnPreview | None = None,
    sources: SourceCache | None = None,
    prepared: "PreparedRecipe | None" = None,
) -> Iterator[tuple[Image.Image, Recipe]]:
    """Generate images from a recipe, with seeds counting up.

    Each image is a call of its own rather than one batch: its pixels then do not depend on the others, large
    images need no more memory, and a finished image can be stored before the next one starts. Where images share
    attention, the first of them is generated beside each, and the pair needs the memory of two.

    Args:
        styled: The model, as `load_for` loads it.
        recipe: The recipe of the first image. Field `blocks` may name a probe file.
        count: Number of images of each prompt.
        prompts: Prompts, one after another; none for that of the recipe.
        on_step: Called after each step.
        on_preview: Called after each step with a function that decodes the latents.
        sources: Cache with the files that `validate` decoded.
        prepared: What `prepare` returned for the recipe; None prepares it.

    Yields:
        The image, and its complete recipe: seed, and everything the model chose, filled in.

    Raises:
        InstantStyleError: The recipe does not fit the model, or a file cannot be read.
    """
    refuse_animation([name for name in ANIMATION_FIELDS if getattr(recipe, name)], "this call")
    drawn = [prompt for prompt in prompts or [recipe.prompt] for _ in range(count)]
    check_seeds(recipe, len(drawn))
    prepared = prepared or prepare(styled, recipe, sources)
    for place, prompt in enumerate(drawn):
        yield from prepared.generate([recipe.replace(prompt=prompt, seed=recipe.seed + place)], on_step, on_preview)


def animate(
    styled: "InstantStyle", recipe: Recipe, *, on_step: OnStep | None = None, sources: SourceCache | None = None
) -> tuple[list[Image.Image], Recipe]:
    """Generate the frames of an animation.

    Args:
        styled: The model with a motion adapter, as `load_for` loads it.
        recipe: The recipe, with `motion_adapter`.
        on_step: Called after each step.
        sources: Cache with the files that `validate` decoded.

    Returns:
        The frames, and the complete recipe.

    Raises:
        InstantStyleError: The recipe does not fit the model, or a file cannot be read.
    """
    [animation] = prepare(styled, recipe, sources).animate([recipe], on_step)
    return animation


@dataclass(frozen=True, eq=False)
class PreparedRecipe:
    """A model with everything encoded that recipes share which differ in prompt and seed alone.

    Attributes:
        styled: The model.
        recipe: The recipe, without probe files in `blocks`.
        style: The style of `references`; None without references.
        conditionings: What the model is called with: the style in its blocks, and the style of
            `layout_references` in the layout blocks.
        loras: The LoRA files that act in blocks.
        redux: The references whose tokens by FLUX.1 Redux follow those of the text.
        image_arguments: Arguments of an image-to-image pipeline; empty without `image`. In place of an inversion,
            which depends on the prompt, there is its picture.
    """

    styled: "InstantStyle"
    recipe: Recipe
    style: "Style | None"
    conditionings: "Sequence[StyleConditioning]"
    loras: "Sequence[LoraStyle]"
    redux: "Sequence[ReduxStyle]"
    image_arguments: "PipelineArguments"

    def generate(
        self, recipes: Sequence[Recipe], on_step: OnStep | None = None, on_preview: OnPreview | None = None
    ) -> list[tuple[Image.Image, Recipe]]:
        """Generate several images in one call.

        Args:
            recipes: Recipes of which `prompt` and `seed` are used. Each image has its own noise; beside
                others it may differ by rounding from the same image alone. Where they share attention with the first
                image of a set, there is a call for each.
            on_step: Called after each step.
            on_preview: Called after each step with a function that decodes the latents.

        Returns:
            Images with their complete recipes, in the order of `recipes`.

        Raises:
            InstantStyleError: The recipe does not fit the model, or an image came out black.
        """
        alone = self.recipe.shared or self.recipe.inversion
        calls = [[recipe] for recipe in recipes] if alone else [recipes]
        images = [image for each in calls for image in self._call(each, on_step, on_preview)]
        return cast("list[tuple[Image.Image, Recipe]]", images)

    def animate(
        self, recipes: Sequence[Recipe], on_step: OnStep | None = None
    ) -> list[tuple[list[Image.Image], Recipe]]:
        """Generate several animations in one call; as `generate`, with the frames of each."""
        return cast("list[tuple[list[Image.Image], Recipe]]", self._call(recipes, on_step))

    def _call(
        self, recipes: Sequence[Recipe], on_step: OnStep | None, on_preview: OnPreview | None = None
    ) -> list[tuple[Any, Recipe]]:
        from torch import Generator

        from ..models.schedulers import use_scheduler

        scheduler = self.recipe.scheduler or (INVERTIBLE[0] if self.recipe.inversion else None)
        own = self.recipe.replace(scheduler=scheduler)
        recipes = [own.replace(prompt=recipe.prompt, seed=recipe.seed) for recipe in recipes]
        beside = list_beside(recipes[0])
        drawn = [*beside, *recipes]
        start = self.image_arguments.get("inversion", self.image_arguments.get("image"))
        width, height = default_size(self.styled)
        size = start.size if start else (self.recipe.width or width, self.recipe.height or height)
        with use_scheduler(self.styled.pipe, scheduler), tile_large_images(self.styled.pipe, *size):
            output = self.styled(
                [recipe.prompt for recipe in drawn],
                style=_share([*self.conditionings, *self.loras, *self.redux], self.recipe if beside else None),
                generator=[Generator("cpu").manual_seed(recipe.seed) for recipe in drawn],
                callback_on_step_end=step_callback(size, on_step, on_preview),
                **self._invert(recipes[0], step_callback(size, on_step, on_preview, is_inversion=True)),
                # A sweep also generates cells without a reference, which have no layout to hold.
                hold_layout=self.recipe.hold_layout if self.conditionings or self.loras else 0.0,
                **pipeline_arguments(self.recipe, len(drawn)),
            )
            return [
                (image, _complete(recipe, self.styled, self.style, image))
                for image, recipe in zip(output.images[len(beside) :], recipes, strict=True)
            ]

    def _invert(self, recipe: Recipe, callback: StepCallback) -> "PipelineArguments":
        """Return the arguments of the image to start from, with the inversion in place of its picture."""
        arguments = dict(self.image_arguments)
        picture = arguments.pop("inversion", None)
        if picture is None:
            return arguments
        settings = {"steps": recipe.num_inference_steps, "iterations": recipe.inversion}
        settings |= {"callback_on_step_end": callback}
        size = {"width": picture.width, "height": picture.height}
        # The colours are given to the latents of the image, and its inversion has those of the picture.
        own = {name: value for name, value in arguments.items() if name != "latent_colours"}
        return {**arguments, "inversion": self.styled.invert(picture, recipe.prompt, **settings, **size, **own)}


def list_beside(recipe: Recipe) -> list[Recipe]:
    """List what is generated before an image in the same call: the first image of its set, unless it is that itself.

    The first image is what it is alone: attention to itself twice is attention to itself.
    """
    if recipe.shared is None or (recipe.first_prompt, recipe.first_seed) == (recipe.prompt, recipe.seed):
        return []
    return [recipe.replace(prompt=recipe.first_prompt, seed=recipe.first_seed)]


def _share(styles: "Sequence[StyleConditioning | LoraStyle | ReduxStyle]", recipe: Recipe | None) -> "Any":
    """Return the style of a call: the styles, and the sharing of a recipe beside them."""
    if recipe is None or recipe.shared is None:
        return styles or None
    from ..core.shared_attention import make_shared

    return [*styles, make_shared(recipe.shared)]


def prepare(
    styled: "InstantStyle", recipe: Recipe, sources: SourceCache | None = None, *, keep_grey: bool = False
) -> PreparedRecipe:
    """Encode the references of a recipe and resolve its blocks.

    Args:
        styled: The model.
        recipe: The recipe.
        sources: Cache with the files that `validate` decoded.
        keep_grey: Whether the style keeps embeddings of its images made grey, which a blend needs.

    Returns:
        The part of the work that does not depend on prompt and seed. Where images share attention and the recipe names
        no first image, that is the recipe's own.

    Raises:
        InstantStyleError: A file cannot be read, or the recipe does not fit the model.
    """
    warn_of_content(styled, recipe)
    sources = SourceCache() if sources is None else sources
    recipe = name_redux_model(fill_in_start(resolve_blocks(recipe, styled.architecture)))
    if recipe.shared and recipe.first_seed is None:
        recipe = recipe.replace(first_prompt=recipe.prompt, first_seed=recipe.seed)
    style, conditionings = make_conditionings(styled, recipe, sources, keep_grey=keep_grey)
    arguments = {**image_arguments(styled.pipe, recipe, sources), **colour_arguments(recipe, sources)}
    loras, redux = make_lora_styles(recipe, sources), make_redux_styles(styled, recipe, sources)
    return PreparedRecipe(styled, recipe, style, conditionings, loras, redux, arguments)


def resolve_blocks(recipe: Recipe, architecture: "Architecture | None" = None) -> Recipe:
    """Replace the probe files in a recipe by the names of the blocks that they propose."""
    # Those of Redux are blocks of all of the network, of which a probe may know those of its adapter alone.
    networks = {name: None if name in REDUX_FIELDS else architecture for name in BLOCK_FIELDS}
    specs = {name: resolve_block_spec(getattr(recipe, name), network) for name, network in networks.items()}
    loras = [
        lora if lora.blocks is None else {**lora.model_dump(), "blocks": resolve_block_spec(lora.blocks, architecture)}
        for lora in recipe.loras
    ]
    return recipe.replace(**specs, loras=loras)


def _complete(
    recipe: Recipe, styled: "InstantStyle", style: "Style | None", image: Image.Image | list[Image.Image]
) -> Recipe:
    """Fill in what the model chose, because a later release may choose differently."""
    frames = image if isinstance(image, list) else None
    first = image[0] if isinstance(image, list) else image
    return recipe.replace(
        # Not `pipe.num_timesteps`: an image-to-image pipeline runs only a part of the steps it is given.
        num_inference_steps=recipe.num_inference_steps or default_steps(styled),
        guidance_scale=styled.pipe.guidance_scale,
        content_scale=style.content_scale if style else None,
        removal=style.removal if style else None,
        **_blend_fields(recipe, style),
        height=first.height,
        width=first.width,
        frames=len(frames) if frames else None,
        fps=(recipe.fps or DEFAULT_FPS) if frames else None,
        scheduler=recipe.scheduler or type(styled.pipe.scheduler).__name__,
        dtype=styled.dtype_name,
        model_sha256=(styled.recipe_fields or {}).get("model_sha256") or recipe.model_sha256,
        versions=library_versions(),
    )


def _blend_fields(recipe: Recipe, style: "Style | None") -> RecipeFields:
    """Return the settings of a blend and of the colour transfer that the recipe has left open."""
    from ..core.latent_colours import INTERVAL

    fields: RecipeFields = {"mask_quantile": style.mask_quantile if style else None}
    if style and style.texture:
        fields |= {"colour_scale": style.texture.colour_scale, "texture_scale": style.texture.texture_scale}
    if recipe.colour_transfer:
        fields["colour_transfer_interval"] = recipe.colour_transfer_interval or INTERVAL
    return fields

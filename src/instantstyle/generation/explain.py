"""Where the style of an image acts: its attention, recorded while the image is generated again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import JobError
from ..imaging.grid import GridLayout, contact_sheet
from ..recipe import Recipe
from ..recipe_types import Reference
from .callbacks import OnStep
from .generate import list_beside, prepare
from .reproduce import OpenedRecipe

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from ..core.attention_maps import AttentionMaps
    from ..core.conditioning import StyleConditioning
    from ..core.pipeline import InstantStyle

SIDE = 256
"""Longer side of a tile in px."""

_WARM = np.array((214.0, 60.0, 20.0))
_SHEET = GridLayout(label_width=0, header_height=44)


@dataclass(frozen=True, eq=False)
class Explanation:
    """An image and the attention of its styles.

    Attributes:
        image: The image, generated again.
        maps: Its attention.
        styles: Names of the styles that act, each with its number in the layers of `maps`.
        place: Number of the image in the maps; the first image of its set is before it.
    """

    image: Image.Image
    maps: "AttentionMaps"
    styles: Sequence[tuple[str, Mapping[str, int]]]
    place: int = 0

    @property
    def layers(self) -> list[str]:
        """The layers in which a style acted, in execution order; those of unconditional parts alone are left out."""
        acting = {name for _, places in self.styles for name in places}
        return [name for name in self.maps.layers if name in acting]

    def list_shares(self) -> list[tuple[str, float]]:
        """List the layers, each with the share of the styles in its result, 0..1."""
        return [(name, self._share_in(name).mean().item()) for name in self.layers]

    def _share_in(self, layer: str) -> "Float[Tensor, 'rows columns']":
        """Return the share of all styles together in the result of a layer."""
        numbers = [places[layer] for _, places in self.styles if layer in places]
        return self.maps.share_in(layer, numbers)[self.place]

    def render(self, *, by_layer: bool = False) -> Image.Image:
        """Render the image beside a map for each style: warm where the style's share is highest.

        Args:
            by_layer: Whether there is a map for each layer instead of one for each style.

        Returns:
            A sheet. The colours of each map range from its own minimum to its maximum, which its label states.
        """
        titles, shares = ["image"], list[tuple[str, "Float[Tensor, 'rows columns']"]]()
        if by_layer:
            shares += [(_shorten(name), self._share_in(name)) for name in self.layers]
        else:
            shares += [(name, self.maps.share_of(places)[self.place]) for name, places in self.styles]
        tiles: list[Image.Image | None] = [self.image]
        for name, share in shares:
            titles.append(f"{name}\n{share.min():.0%} to {share.max():.0%}")
            tiles.append(_overlay(self.image, share))
        return contact_sheet([""], titles, [tiles], SIDE, _SHEET)


def explain(
    path: Path, folders: Sequence[Path] = (), device: str | None = None, on_step: OnStep | None = None
) -> Explanation:
    """Generate an image again and record where its style acts.

    Args:
        path: As in `reproduce`.
        folders: As in `reproduce`.
        device: As in `reproduce`.
        on_step: Called after each step.

    Raises:
        JobError: The image has no style, or none that acts, or as in `reproduce`.
        InstantStyleError: As in `reproduce`.
    """
    opened = OpenedRecipe.of(path, folders, device)
    if not (names := _name_styles(opened.before)):
        others = {
            "LoRA files in blocks, which have no attention of their own": opened.before.styling_loras,
            "references of FLUX.1 Redux, whose attention is not recorded": opened.before.redux_references,
        }
        beside = "".join(f" beside {name}" for name, given in others.items() if given)
        raise JobError(f"{path} was generated without a style{beside}; there is nothing to explain.")
    conditionings = prepare(opened.styled, opened.recipe, opened.sources).conditionings
    with opened.styled.record_attention() as maps:
        image, _ = opened.generate(on_step)
    placed = zip(names, _find_places(opened.styled, conditionings), strict=True)
    acting = [(name, places) for name, places in placed if maps.has_acted(places)]
    if not acting:
        raise JobError(
            f"No style of {path} acts in it, as by a scale or weight of 0 or steps that it does not have; there is "
            "nothing to explain."
        )
    return Explanation(image, maps, acting, len(list_beside(opened.recipe)))


def _name_styles(recipe: Recipe) -> list[str]:
    """Name the styles of a recipe by their files, in the order of its conditionings."""
    names: list[str] = []
    if recipe.references:
        style = _join_names(recipe.references)
        texture = _join_names(recipe.texture_references)
        names.append(f"colours of {style}, texture of {texture}" if texture else style)
    if recipe.layout_references:
        names.append(_join_names(recipe.layout_references))
    if recipe.image and recipe.image_scale:
        names.append(_join_names([recipe.image]))
    if recipe.second_adapter and recipe.second_scale and (second := recipe.second_references or recipe.references):
        names.append(f"{_join_names(second)} by {Path(recipe.second_adapter.name).stem}")
    return names


def _join_names(files: Sequence[Reference]) -> str:
    return " + ".join(Path(file.name).name for file in files)


def _find_places(styled: "InstantStyle", conditionings: "Sequence[StyleConditioning]") -> list[dict[str, int]]:
    """Find the number of each conditioning in the maps of each layer: in a layer, styles count from 0 in their order.

    The unconditional part of a mode has a number too, and acts in no row that maps show.
    """
    from ..core.adapters import style_layers

    counts, places = Counter[str](), list[dict[str, int]]()
    for conditioning in conditionings:
        places.append({})
        for part in conditioning.expand_mode():
            for name in style_layers(styled.builders, part):
                layer = name.removesuffix(".attn2.processor")
                if not part.unconditional:
                    places[-1][layer] = counts[layer]
                counts[layer] += 1
    return places


def _overlay(image: Image.Image, share: "Float[Tensor, 'rows columns']") -> Image.Image:
    """Lay a map over the grey image: pale where the share is lowest, warm where it is highest."""
    grey = np.asarray(image.convert("L").convert("RGB"), dtype=np.float32)
    lowest, highest = float(share.min()), float(share.max())
    levels = Image.fromarray(((share - lowest) / max(highest - lowest, 1e-12)).cpu().numpy().astype(np.float32))
    weight = np.asarray(levels.resize(image.size, Image.Resampling.BILINEAR)).clip(0, 1)[..., None]
    mixed = (1 - 0.75 * weight) * (0.5 * grey + 127) + 0.75 * weight * _WARM
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _shorten(layer: str) -> str:
    return layer.replace("attentions.", "a").replace("transformer_blocks.", "t")

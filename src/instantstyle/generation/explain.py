"""Where the style of an image acts: its attention, recorded while the image is generated again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import JobError
from ..imaging.grid import GridLayout, contact_sheet
from .callbacks import OnStep
from .reproduce import OpenedRecipe

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from ..core.attention_maps import AttentionMaps

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
        styles: Names of the styles that act, in the order of their numbers in `maps`.
    """

    image: Image.Image
    maps: "AttentionMaps"
    styles: Sequence[str]

    def list_shares(self) -> list[tuple[str, float]]:
        """List the layers, each with the share of the styles in its result, 0..1."""
        return list(self.maps.shares_by_layer().items())

    def render(self, *, by_layer: bool = False) -> Image.Image:
        """Render the image beside a map for each style: warm where the style's share is highest.

        Args:
            by_layer: Whether there is a map for each layer instead of one for each style.

        Returns:
            A sheet. The colours of each map range from its own minimum to its maximum, which its label states.
        """
        titles, shares = ["image"], list[tuple[str, "Float[Tensor, 'rows columns']"]]()
        if by_layer:
            shares += [(_shorten(name), self.maps.share(name)[0]) for name in self.maps.layers]
        else:
            shares += [(name, self.maps.share(style=number)[0]) for number, name in enumerate(self.styles)]
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
        JobError: The image has no style, or as in `reproduce`.
        InstantStyleError: As in `reproduce`.
    """
    opened = OpenedRecipe.of(path, folders, device)
    groups = {"style": opened.before.references, "layout": opened.before.layout_references}
    names = [" + ".join(Path(file.name).name for file in files) for files in groups.values() if files]
    if not names:
        raise JobError(f"{path} was generated without a style; there is nothing to explain.")
    with opened.styled.record_attention() as maps:
        image, _ = opened.generate(on_step)
    return Explanation(image, maps, _list_styles(maps, names))


def _list_styles(maps: "AttentionMaps", names: Sequence[str]) -> list[str]:
    """Name the styles by their numbers in the layers; styles in separate layers have the number 0 in each."""
    count = max((len(layer.shares) for layer in maps.layers.values()), default=0)
    return list(names) if count == len(names) else [" and ".join(names)] * min(count, 1)


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

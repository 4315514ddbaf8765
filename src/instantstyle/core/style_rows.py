"""Rows of the keys and values of the styles of a call, and what cleaning adds to them over the steps."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from .attention.key_value_shift import TailDecay, TokenShift
from .attention.timed import Norms
from .bound_style import BoundKeyValues, KeyValue
from .cleanstyle import TAIL_EXPONENT, SingularTail, unconditional_keys
from .content_removal import RATES
from .style import Style


@dataclass(frozen=True, eq=False)
class StyleRows:
    """The keys and values of the styles of a call, in all of its layers.

    Row 0 is for the unconditional half: no reference, the negative style, or, if `unconditional`, the styles. Row 1 is
    for the other half.
    """

    styles: Sequence[BoundKeyValues]
    """One style, or one for each prompt."""
    negative: BoundKeyValues | None
    unconditional: bool
    cleanstyle_scales: tuple[float, ...]
    """Content scale of each style, and of the negative style at the end, under CleanStyle's method; 0 without it."""

    @classmethod
    def of(
        cls,
        styles: Sequence[tuple[Style, BoundKeyValues]],
        negative: tuple[Style, BoundKeyValues] | None,
        unconditional: bool,
    ) -> "StyleRows":
        """Collect the keys and values of styles; the unconditional rows that CleanStyle's method makes take effect.

        A negative style takes their place, and of a style in the unconditional half the other row is without a
        reference.
        """
        scales = [style.cleanstyle_scale for style, _ in styles]
        bound = [keys for _, keys in styles]
        if negative is None and not unconditional:
            bound = [_with_targeted_row(keys, scale) for keys, scale in zip(bound, scales, strict=True)]
        other = 0.0 if negative is None else negative[0].cleanstyle_scale
        return cls(bound, None if negative is None else negative[1], unconditional, (*scales, other))

    def stack(self, which: int, layer: str) -> Float[Tensor, "2 prompts tokens width"]:
        """Stack the keys (0) or values (1) of a layer.

        Raises:
            StyleError: Numbers of tokens differ.
        """
        other = self.negative.layers[layer][which] if self.negative else None
        return stack_rows([one.layers[layer][which] for one in self.styles], other, self.unconditional)

    def norms(self, layer: str) -> Norms:
        """Return the adapters' norms of the image's queries and keys in a layer.

        Styles of several adapters have several: one for each row of keys and values then.
        """
        bound = [*self.styles, *([self.negative] if self.negative else [])]
        query, key = bound[0].norms[layer]
        if all(each.norms[layer].equal(bound[0].norms[layer]) for each in bound):
            return query, key
        rows = [[norm.expand(2, 1, -1) for norm in each.norms[layer]] for each in bound]
        negatives = rows.pop() if self.negative else (None, None)
        query, key = (
            stack_rows([pair[which] for pair in rows], negatives[which], self.unconditional) for which in (0, 1)
        )
        return query, key

    def shift(self, layer: str) -> TokenShift | TailDecay | None:
        """Build what cleaning adds to both rows of a layer over the steps; None where no style is cleaned.

        Raises:
            StyleError: Styles of the call are cleaned by different methods.
        """
        shift, decay = self._token_shift(layer), self._tail_decay(layer)
        if shift is not None and decay is not None:
            raise StyleError("Styles of one call are cleaned by clean and by cleanstyle; use one of them for all.")
        return shift or decay

    def _token_shift(self, key: str) -> TokenShift | None:
        """Build the shift of token cleaning.

        A negative style, cleaned or not, takes the place of the tail. For an unconditional style only that style is
        cleaned: guidance would steer towards a tail in the other row.
        """
        styles, negative = self.styles, self.negative
        if not any(key in bound.shifts for bound in (*styles, *([negative] if negative else []))):
            return None
        slow, fast = RATES
        shifts = [bound.shift_for(key) for bound in styles]
        others = negative.shift_for(key) if negative else (None, None)

        def rows(which: int) -> Float[Tensor, "2 prompts tokens width"]:
            halves = [shift[which] for shift in shifts]
            if self.unconditional:
                halves = [torch.stack([torch.zeros_like(half[1]), half[1]]) for half in halves]
            return stack_rows(halves, others[which], self.unconditional)

        rates = (fast, fast) if negative or self.unconditional else (slow, fast)
        return TokenShift(rows(0), rows(1), torch.tensor(rates))

    def _tail_decay(self, layer: str) -> TailDecay | None:
        """Build the decay of CleanStyle's method, which acts on the rows that hold a style."""
        if not any(self.cleanstyle_scales):
            return None
        *scales, negative = self.cleanstyle_scales
        rows = torch.tensor([[negative] * len(scales), scales]) * TAIL_EXPONENT
        exponent = rows.flip(0) if self.unconditional else rows
        key, value = (SingularTail.of(self.stack(which, layer)) for which in (0, 1))
        return TailDecay(key, value, exponent)


def stack_rows(
    styles: Sequence[Float[Tensor, "2 tokens width"]],
    negative: Float[Tensor, "2 tokens width"] | None,
    unconditional: bool,
) -> Float[Tensor, "2 prompts tokens width"]:
    """Stack the keys, or the values, of the styles of a call: one style, or one for each prompt.

    Row 0 is for the unconditional half: no reference, the negative style, or, if `unconditional`, the styles. Row 1 is
    for the other half. One style is returned as a view of its own memory; `StyleError` if numbers of tokens differ.
    """
    if len({style.shape for style in styles}) > 1:
        raise StyleError("Styles of one call must have as many references side by side each (combine).")
    rows = styles[0][:, None] if len(styles) == 1 else torch.stack(list(styles), dim=1)
    if unconditional:
        return rows.flip(0)
    if negative is None:
        return rows
    if negative.shape[1] != rows.shape[2]:
        raise StyleError("A negative style needs as many references side by side as the style has (combine).")
    return torch.stack([negative[1:].expand_as(rows[0]), rows[1]])


def _with_targeted_row(bound: BoundKeyValues, scale: float) -> BoundKeyValues:
    """Replace the unconditional row by that of CleanStyle's method."""
    if scale == 0:
        return bound

    def targeted(x: Float[Tensor, "2 tokens width"]) -> Float[Tensor, "2 tokens width"]:
        return torch.stack([unconditional_keys(x[1], x[0], scale), x[1]])

    layers: dict[str, KeyValue] = {name: (targeted(k), targeted(v)) for name, (k, v) in bound.layers.items()}
    return replace(bound, layers=layers)

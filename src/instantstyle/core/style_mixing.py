"""Mixtures of styles: weighted means of their embeddings, or of their keys and values."""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, cast

import torch

from ..errors import StyleError
from ..imaging.thumbnail import combine_thumbnails
from ..recipe_types import WORDLESS
from ..utils.numbers import is_finite_number, read_numbers
from ..utils.text import join_first, shorten
from .bound_style import BoundKeyValues, KeyValue
from .content_removal import CLEANSTYLE
from .style_file import StyleFields, style_tensors
from .style_source import removed

if TYPE_CHECKING:
    from .style import Style

Part = tuple["Style", float]
"""A style and its weight."""

UNKNOWN = "unknown"
"""Author and licence, in a mix, of a part that names none."""

NO_EMBEDDINGS: StyleFields = {
    "image_embeds": torch.zeros(0, 0),
    "unconditional": torch.zeros(0),
    "weights": (),
}
"""Fields of a style that has keys and values only."""


def checked_weights(weights: object, count: int) -> tuple[float, ...]:
    """Check the weights of the references of a style.

    Args:
        weights: Numbers in order, as `read_numbers` reads them.
        count: Number of references; 0 for a style without embeddings.

    Returns:
        The weights as floats.

    Raises:
        StyleError: They are not one for each reference, or not finite numbers from 0 with a sum above 0.
    """
    numbers = read_numbers(weights)
    if numbers is not None and len(numbers) != count:
        raise StyleError(f"{count} references have {len(numbers)} weights; give one for each.")
    if numbers is None or (numbers and not (min(numbers) >= 0 and 0 < sum(numbers) < inf)):
        raise StyleError(f"Weights are {shorten(weights)}; each must be finite and not negative, and not all 0.")
    return tuple(numbers)


def split_pairs(parts: object) -> list[tuple[object, float]]:
    """Return the parts of a mix as pairs.

    Args:
        parts: A mapping from styles, style files or library names to weights, or pairs of these.

    Raises:
        StyleError: It is neither.
    """
    entries = cast("Mapping[object, object]", parts).items() if isinstance(parts, Mapping) else parts
    pairs = list(cast("Iterable[object]", entries)) if isinstance(entries, Iterable) else [entries]
    if not all(isinstance(pair, tuple | list) and len(cast("Sequence[object]", pair)) == 2 for pair in pairs):
        raise StyleError(f"parts are {shorten(parts)}; pass a mapping from styles to weights, or pairs of these.")
    return cast("list[tuple[object, float]]", pairs)


def ordered_parts(parts: Iterable[Part]) -> list[Part]:
    """Sort the parts by weight, then by label and content, as a sum of floats depends on its order.

    Args:
        parts: Styles with weights; parts of weight 0 are dropped.

    Raises:
        StyleError: A weight is negative or not a finite number, or no weight is above 0.
    """
    checked = [(style, _checked_weight(weight)) for style, weight in parts]
    kept = [part for part in checked if part[1] > 0]
    if not kept:
        raise StyleError("A mix needs a style of a weight above 0; there is none.")
    if sum(weight for _, weight in kept) == inf:
        raise StyleError("The weights of a mix have no finite sum; divide all of them by the largest.")
    return sorted(kept, key=lambda part: (-part[1], part[0].label, _digest(part[0])))


def mixed_fields(parts: Sequence[Part], on: str | None = None) -> StyleFields:
    """Compute the fields of the mixed style.

    Args:
        parts: Two or more styles with weights, as `ordered_parts` returns them.
        on: `"embeddings"` computes Σ wᵢeᵢ / Σ wᵢ, with the content of each style removed; `"keys"` the same of the
            keys and values of the families that all styles are bound for. None selects embeddings where all
            styles have theirs.

    Returns:
        Keyword arguments for `Style`.

    Raises:
        StyleError: `on` is unknown, or the styles cannot be mixed in this way.
    """
    styles = [style for style, _ in parts]
    on = on or ("embeddings" if all(style.has_ingredients for style in styles) else "keys")
    methods = {"embeddings": mixed_embeddings, "keys": mixed_keys}
    if not isinstance(cast(object, on), str) or on not in methods:
        raise StyleError(f"A mix cannot be made on {shorten(on)}; on is embeddings or keys.")
    labels = [f"({style.label})" if " " in style.label else style.label for style in styles]
    shared, own = shared_fields(styles), methods[on](parts)
    if not own.get("content") and own.get("removal") not in WORDLESS:
        shared["removed_from_parts"] = _removed_from_parts(styles)
    return {
        "name": " + ".join(f"{label} × {weight:g}" for label, (_, weight) in zip(labels, parts, strict=True)),
        "crop": styles[0].crop,
        **shared,
        **own,
    }


def shared_fields(styles: Sequence["Style"]) -> StyleFields:
    """Return the fields that a style made of several has of all of them, and their encoder."""
    return {
        "thumbnail": combine_thumbnails([style.thumbnail for style in styles]),
        "author": _join_unless_unknown(", ", [style.author for style in styles]),
        "licence": _join_unless_unknown("; ", [style.licence for style in styles]),
        "removed_from_parts": tuple(dict.fromkeys(entry for style in styles for entry in style.removed_from_parts)),
        "encoder": styles[0].encoder,
        "encoder_fingerprint": styles[0].encoder_fingerprint,
        "adapter": _shared_adapter(styles),
        "tuned_for": styles[0].tuned_for if len({style.tuned_for for style in styles}) == 1 else None,
    }


def _join_unless_unknown(separator: str, texts: Sequence[str]) -> str:
    """Join the authors or licences of parts; those of parts that name none are unknown. Empty if no part names any."""
    names = dict.fromkeys(name for text in texts for name in (text or UNKNOWN).split(separator))
    return separator.join(names) if any(texts) else ""


def _removed_from_parts(styles: Sequence["Style"]) -> tuple[str, ...]:
    """Describe each style from which content is removed, as a mix no longer shows it: `ink.png − "a cat" × 0.5`."""
    found = (
        (*style.removed_from_parts, *([style.label] if style.removed_label and style.content_scale else []))
        for style in styles
    )
    return tuple(dict.fromkeys(entry for entries in found for entry in entries))


def _shared_adapter(styles: Sequence["Style"]) -> str:
    names = list(dict.fromkeys(style.adapter for style in styles if style.adapter))
    if len(names) > 1:
        raise StyleError(
            f"Styles of different adapters cannot be mixed ({join_first(names)}); make them for one adapter, or use a "
            "StyleConditioning for each."
        )
    return names[0] if names else ""


def mixed_embeddings(parts: Sequence[Part]) -> StyleFields:
    """Compute the embedding fields of Σ wᵢeᵢ / Σ wᵢ, in the order given, with the content of each eᵢ removed.

    Where all styles have the same content their references are concatenated, and the removal can still be changed;
    otherwise, and where one is a blend or subtracts references, each style becomes one reference whose content is
    removed already.

    Raises:
        StyleError: Encoders, removals or combinations do not agree.
    """
    _check_compatible([style for style, _ in parts])
    first = parts[0][0]
    fields: StyleFields = {"unconditional": first.unconditional}
    if not all(_has_same_content(style, first) and _is_plain_mean(style) for style, _ in parts):
        if first.removal in WORDLESS and first.content_scale:
            fields |= {"content_scale": first.content_scale, "removal": first.removal}
        embeds = torch.stack([style.embedding() for style, _ in parts])
        return {**fields, "image_embeds": embeds, "weights": tuple(weight for _, weight in parts)}
    for name in ("content", "content_embeds", "content_scale", "removal", "mask_quantile", "content_kinds"):
        fields[name] = getattr(first, name)
    greys = [style.grey_embeds for style, _ in parts if style.grey_embeds is not None]
    if len(greys) == len(parts):
        fields["grey_embeds"] = torch.cat(greys)
    shares = [weight * one / sum(style.weights) for style, weight in parts for one in style.weights]
    embeds = torch.cat([style.image_embeds for style, _ in parts])
    return {**fields, "image_embeds": embeds, "weights": tuple(shares)}


def mixed_keys(parts: Sequence[Part]) -> StyleFields:
    """Mix keys and values for the families that all styles are bound for with one adapter.

    Raises:
        StyleError: There is no such family.
    """
    first = parts[0][0]
    for style, _ in parts:
        _check_cleaned_alike(style, first, [CLEANSTYLE])
    by_family = [({bound.family: bound for bound in style.bindings}, weight) for style, weight in parts]
    families = [family for family in sorted(by_family[0][0]) if all(family in found for found, _ in by_family)]
    mixed = [mix_bound([(found[family], weight) for found, weight in by_family]) for family in families]
    bindings = tuple(bound for bound in mixed if bound is not None)
    if not bindings:
        listed = "; ".join(
            f"{style.name}: "
            + (", ".join(f"{each.family} by {each.adapter}" for each in style.bindings) or "not bound")
            for style, _ in parts
        )
        raise StyleError(
            "These styles cannot be mixed by their keys and values, as they are not bound for layers of one "
            f"family by one adapter ({listed}); bind them alike, or mix styles that have their embeddings."
        )
    # Unlike the shifts of `clean`, what `cleanstyle` does is computed from the keys and values themselves.
    kept = {"content_scale": first.content_scale, "removal": CLEANSTYLE} if first.removal == CLEANSTYLE else {}
    return {**NO_EMBEDDINGS, **kept, "bindings": bindings}


def mix_bound(parts: Sequence[tuple[BoundKeyValues, float]]) -> BoundKeyValues | None:
    """Compute Σ wᵢKᵢ / Σ wᵢ and Σ wᵢVᵢ / Σ wᵢ in the layers that all parts have, in the order given.

    The result differs from binding the mixed embedding, as an adapter's projection ends in a LayerNorm; both agree
    at weights 0 and 1. Token shifts are mixed alike; the shift of a part that is not cleaned is zero.

    Returns:
        None where the parts share no layer, or come from different adapters, timesteps, norms or numbers of tokens.
    """
    first = parts[0][0]
    shared = [key for key in first.layers if all(key in bound.layers for bound, _ in parts)]
    if len({(bound.adapter, bound.timesteps) for bound, _ in parts}) > 1 or not shared:
        return None
    if any(len({bound.layers[key][0].shape for bound, _ in parts}) > 1 for key in shared):
        return None
    # Fingerprints are of the projection, which several adapters may share.
    if any(not bound.norms[key].equal(first.norms[key]) for bound, _ in parts for key in shared if key in first.norms):
        return None
    total = sum(weight for _, weight in parts)
    shares = [(bound, weight / total) for bound, weight in parts]
    layers = {key: _weighted_sum([(bound.layers[key], share) for bound, share in shares]) for key in shared}
    cleaned = [key for key in shared if any(key in bound.shifts for bound, _ in parts)]
    shifts = {key: _weighted_sum([(bound.shift_for(key), share) for bound, share in shares]) for key in cleaned}
    norms = {key: first.norms[key] for key in shared if key in first.norms}
    return BoundKeyValues(first.family, first.adapter, layers, shifts, first.timesteps, norms)


def lost_bindings(parts: Iterable["Style"], mixed: "Style") -> tuple[str, ...]:
    """List the families for which a mix is bound in fewer layers than one of its parts, or not at all.

    A mix of embeddings is bound for none: its keys and values are not the mean of those of its parts, as every
    projection of an adapter ends in a LayerNorm.

    Args:
        parts: The styles of the mix.
        mixed: The mix.
    """
    own = {bound.family: {*bound.layers} for bound in mixed.bindings}
    before = [bound for style in parts for bound in style.bindings]
    return tuple(dict.fromkeys(each.family for each in before if {*each.layers} - own.get(each.family, set[str]())))


def _weighted_sum(shares: Sequence[tuple[KeyValue, float]]) -> KeyValue:
    key, value = (torch.stack([share * pair[i].float() for pair, share in shares]).sum(dim=0) for i in (0, 1))
    return key, value


def _check_compatible(styles: Sequence["Style"]) -> None:
    """Embeddings of different encoders lie in different spaces; token cleaning does not act on embeddings."""
    first = styles[0]
    for style in styles:
        style.check_ingredients()
        _check_cleaned_alike(style, first, WORDLESS)
        if style.combine == "concat" and len(style.image_embeds) > 1:
            raise StyleError(f"{style.label} concatenates tokens, which have no mean; use combine='average'.")
        check_same_encoder(style, first, "mixed")


def _check_cleaned_alike(style: "Style", first: "Style", removals: Sequence[str]) -> None:
    """Refuse a mix in which a removal acts that is applied to the whole mix, and not in all of its styles alike."""
    cleaned = next((each.removal for each in (style, first) if each.removal in removals and each.content_scale), None)
    if cleaned and removed(style)[1:] != removed(first)[1:]:
        acts_on = "tokens" if cleaned != CLEANSTYLE else "keys and values"
        raise StyleError(
            f"{style.label} and {first.label} cannot be mixed: {cleaned} acts on the {acts_on} of the whole mix; "
            "set all of them to it with one content scale, or none."
        )


def check_same_encoder(style: "Style", first: "Style", made: str) -> None:
    """Raise `StyleError` unless both styles were made with one image encoder, as far as that is known."""
    fingerprints = {style.encoder_fingerprint, first.encoder_fingerprint} - {""}
    shapes = [one.image_embeds.shape[1:] for one in (style, first)]
    if len(fingerprints) <= 1 and shapes[0] == shapes[1]:
        return
    if len(fingerprints) > 1 or len(shapes[0]) == len(shapes[1]):
        why = " and ".join(f"{one.encoder} {one.encoder_fingerprint}".strip() for one in (style, first))
        made_with, advice = f"were made with different image encoders ({why})", "make both with one"
    else:
        kinds = ("an embedding" if len(shape) == 1 else "patch features" for shape in shapes)
        made_with, advice = f"are {' and '.join(kinds)} of images", "make both for one adapter"
    raise StyleError(f"{style.label} and {first.label} {made_with} and cannot be {made}; {advice}.")


def _is_plain_mean(style: "Style") -> bool:
    return style.texture is None and style.combine != "subtract"


def _has_same_content(one: "Style", other: "Style") -> bool:
    if one.content_embeds is None or other.content_embeds is None:
        return one.content_embeds is other.content_embeds
    return removed(one) == removed(other) and one.content_embeds.equal(other.content_embeds)


def _checked_weight(weight: object) -> float:
    if not is_finite_number(weight) or (number := float(cast(float, weight))) < 0:
        raise StyleError(f"The weight of a style in a mix is {shorten(weight)}; it must be a finite number from 0.")
    return number


def _digest(style: "Style") -> str:
    blend = (style.texture.weights, style.texture.colour_scale, style.texture.texture_scale) if style.texture else ()
    quantile = () if style.mask_quantile is None else (style.mask_quantile,)
    digest = sha256(repr((style.weights, style.content_scale, style.removal, *quantile, *blend)).encode())
    for name, tensor in sorted(style_tensors(style, exact=True).items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()

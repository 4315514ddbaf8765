"""The state of a running call of the UNet that styled layers depend on: rows, progress, latent size and region."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import StyleError
from .frame_weights import FrameWeights, weigh_frames
from .pipeline_call import ImageRegion, PipelineCall
from .protocols import PipelineArguments
from .row_layout import UNGUIDED, Row, RowLayout


class AttentionRecord(Protocol):
    """What a record of attention has: `attention_maps.AttentionMaps`."""

    def record(self, layer: str, query: Any, text: Any, styles: Any, mask: Any, state: "DenoisingState") -> None:
        """Add a call of a layer."""
        ...


@dataclass(frozen=True)
class Twins:
    """Rows of a batch that are unstyled twins of others (`twin_images`)."""

    source: tuple[int, ...]
    """For each row, the row whose queries and keys its self-attention uses: a twin's own, a styled row's twin."""

    @property
    def styled(self) -> tuple[int, ...]:
        """The rows that are no twins."""
        return tuple(row for row, source in enumerate(self.source) if source != row)

    def factors(self, like: Tensor) -> Float[Tensor, "rows 1 1 1"]:
        """Return 0 for twins and 1 for other rows, as a factor on a weight."""
        factors = [float(source != row) for row, source in enumerate(self.source)]
        return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None, None, None]


def packed_size(ids: Float[Tensor, "*batch tokens 3"]) -> tuple[int, int]:
    """Return height and width in tokens of the image that a diffusion transformer denoises.

    Args:
        ids: `img_ids`: for each token the number of its image, row and column. Number 0 is the image itself, others
            are images beside it, such as that which Kontext edits.
    """
    own = ids.flatten(0, -2)
    own = own[own[:, 0] == 0]
    return int(own[:, 1].max()) + 1, int(own[:, 2].max()) + 1


class DenoisingState:
    """State of the current call of a UNet, which all of its styled layers share.

    It is set before the network runs, outside of compiled code, and is empty between calls.
    """

    def __init__(self) -> None:
        self.row_layout: RowLayout | None = None
        """Parts of the batch; None between calls."""
        self.region: ImageRegion | None = None
        """The part of the image that is generated; None for all of it."""
        self.latent_size: tuple[int, int] = (0, 0)
        self.is_packed = False
        """Whether the layers have the image's tokens in one row, perhaps with those of other images after them."""
        self.text_tokens = 0
        """Tokens of the text in a diffusion transformer, before those of the image in blocks with one stream."""
        self.rows: int | None = None
        """Rows of each layer: those of the batch, for each frame of a video; None where they are not known."""
        self.added_tokens = 0
        """Tokens of references at the end of the text's."""
        self.timestep: float | None = None
        """The timestep of the call in 0..1000; None between calls."""
        self.num_frames: int | None = None
        """Frames of each video; None where the batch has images."""
        self.keeps_text = True
        """Whether the text's keys and values serve the next call too: no code of the caller runs in between."""
        self.maps: AttentionRecord | None = None
        """What records the attention of each layer; None unless it is recorded."""
        self.twins: Twins | None = None
        """Rows that are unstyled twins of others; None where there are none."""
        self.needs_timestep = False
        """Whether keys and values depend on the timestep: reading it waits for a GPU."""
        self.has_views = False
        """Whether the rows of the batch are parts of one image."""
        self.seen_parts: set[Row] = set()
        """Parts of all batches since the pipeline's call began."""
        self._progress: float | None = None
        self._num_steps: int | None = None
        self._place: int | None = None
        """Place in the schedule of the last call in a caller's own loop."""

    def begin(
        self,
        args: Sequence[Any],
        kwargs: PipelineArguments,
        call: PipelineCall | None,
        scheduler: object = None,
        declared: RowLayout | None = None,
        *,
        is_own_schedule: bool = False,
    ) -> None:
        """Read the state from the arguments of a call of the UNet and from the pipeline's call around it.

        In a caller's own loop, all rows are conditional unless `declared` says otherwise, and the step is that of
        the timestep in the schedule.

        Args:
            args: Positional arguments; pipelines differ in which of `sample` and `timestep` are positional.
            kwargs: Keyword arguments.
            call: The pipeline's call; None in a caller's own loop.
            scheduler: The scheduler of a caller's own loop, if it is known.
            declared: Parts of the batch where no known pipeline is running.
            is_own_schedule: Whether the caller has named the scheduler for the loop. Steps of any other scheduler are
                not skipped: it may hold the schedule of an earlier call.

        Raises:
            ModelError: The running pipeline is not known, and no layout is declared.
        """
        sample = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
        self.is_packed = "img_ids" in kwargs
        self.latent_size = packed_size(kwargs["img_ids"]) if self.is_packed else tuple(sample.shape[-2:])
        self.text_tokens = kwargs["encoder_hidden_states"].shape[1] if self.is_packed else 0
        self.added_tokens = 0
        self.num_frames = sample.shape[2] if sample.ndim == 5 else None
        self.rows = len(sample) * (self.num_frames or 1)
        if call is None:
            self.row_layout, self.region, self.has_views = declared or UNGUIDED, None, False
            self._progress, self._num_steps, self.keeps_text = None, None, False
        else:
            self.row_layout = call.row_layout(declared, kwargs)
            self.region, self.has_views, self._progress = call.region, call.has_views, call.progress
            self._num_steps = call.num_steps
            self.keeps_text = not call.runs_callback
            scheduler, is_own_schedule = call.pipe.scheduler, True
        self.seen_parts |= {*self.row_layout}
        timestep = kwargs["timestep"] if "timestep" in kwargs else args[1]
        self.timestep = _read_timestep(timestep) if self.needs_timestep else None
        if self._progress is None:
            self._progress = self._share_in_schedule(timestep, scheduler, is_own_schedule)

    def skip_unconditional(self) -> None:
        """Keep the conditional half of a batch of two parts."""
        self.row_layout = UNGUIDED
        self.rows = None if self.rows is None else self.rows // 2

    def pair_twins(self, per_prompt: int) -> Twins:
        """Pair the rows of a batch in which the images of each prompt have their twins after them.

        Args:
            per_prompt: Images for each prompt, without twins.

        Raises:
            StyleError: The batch has other rows.
        """
        if self.rows is None or self.num_frames is not None or self.has_views or self.rows % (2 * per_prompt):
            raise StyleError(
                "hold_layout needs a batch with each image and its unstyled twin, and this pipeline generates other "
                "rows; leave it out."
            )
        rows, group = range(self.rows), 2 * per_prompt
        return Twins(tuple(row + per_prompt if row % group < per_prompt else row for row in rows))

    def drop_twins(self, twins: Twins) -> None:
        """Keep the styled rows of a batch with twins."""
        self.rows = len(twins.styled)

    def end(self) -> None:
        """Forget the call, so that a layer that runs outside of one is noticed."""
        self.row_layout, self.rows, self.twins = None, None, None

    def weigh_rows(self, weights: FrameWeights) -> Float[Tensor, "rows 1 1 1"]:
        """Return the factor of each row of a layer; the frames of a video are side by side in a batch.

        Args:
            weights: Factors over the frames.

        Raises:
            StyleError: The batch has images.
        """
        if self.num_frames is None or self.rows is None:
            raise StyleError(
                "frames gives weights to the frames of a video, and this pipeline generates images; leave it out, or "
                "load the model with motion_adapter=."
            )
        return weigh_frames(weights, self.num_frames).repeat(self.rows // self.num_frames)[:, None, None, None]

    def conditional_factors(self, like: Tensor) -> Float[Tensor, "rows 1 1 1"]:
        """Return 1 for the conditional rows of a layer and 0 for others, as a factor on a weight.

        Args:
            like: For device and dtype.

        Raises:
            StyleError: The network is not running, or the rows do not split evenly into parts.
        """
        images, rest = divmod(self.rows or 0, len(self.parts))
        if rest:
            raise StyleError(
                f"A batch of {self.rows} rows does not split into {len(self.parts)} parts ({', '.join(self.parts)}), "
                "so that its conditional rows are not known; leave positive_only out."
            )
        factors = [float(part == "conditional") for part in self.parts for _ in range(images)]
        return torch.tensor(factors, dtype=like.dtype, device=like.device)[:, None, None, None]

    def check_rows(self, rows: int) -> None:
        """Check that a layer has the rows of the call.

        Args:
            rows: Number of rows of the layer.

        Raises:
            StyleError: It has others: a wrapper inside or around the network splits the batch.
        """
        if self.rows is not None and rows != self.rows:
            raise StyleError(
                f"A styled layer has {rows} rows, and this call of the network {self.rows} rows: something splits the "
                "batch, so that the style could act in wrong rows. Turn it off (in AnimateDiff "
                "enable_free_noise_split_inference), or style the network that is called with the parts."
            )

    @property
    def parts(self) -> RowLayout:
        """Parts of the batch.

        Raises:
            StyleError: The network is not running.
        """
        if self.row_layout is None:
            raise StyleError(
                "A styled layer runs outside of a call of the network that is styled. Call it itself: with "
                "torch.compile, the compiled network that the pipeline has."
            )
        return self.row_layout

    @property
    def progress(self) -> float:
        """Share of the steps before the current one: i / k at step i of the k steps that this call draws.

        Raises:
            StyleError: The step is not known, in a caller's own loop whose timestep the schedule has never or twice,
                or that skips steps of a scheduler that was not named for it.
        """
        if self._progress is None:
            raise StyleError(
                "The step of this call of the network is not known, since no pipeline of diffusers is running and the "
                "scheduler does not have the timestep exactly once and next to the last one: start, end, curve, "
                "removal='clean' or 'cleanstyle' and guidance_interval need one. Name the scheduler of your loop: "
                "using(…, scheduler=…)."
            )
        return self._progress

    @property
    def progress_after(self) -> float:
        """Share of the steps up to and including the current one; raises `StyleError` as `progress`."""
        progress = self.progress
        return progress if self._num_steps is None else progress + 1 / self._num_steps

    def spatial_size(self, pixels: int) -> tuple[int, int]:
        """Return height and width of a layer of so many pixels.

        A layer's size is that of the latents, halved and rounded up as often as needed; in a diffusion transformer it
        is that of the image's tokens, after which there may be those of other images.

        Args:
            pixels: Number of pixels of the layer.

        Raises:
            StyleError: No number of halvings gives that many pixels.
        """
        height, width = self.latent_size
        if self.is_packed and height * width <= pixels:
            return height, width
        while height * width > pixels:
            height, width = -(-height // 2), -(-width // 2)
        if height * width != pixels:
            raise StyleError(
                f"A mask cannot be resized to {pixels} pixels: latents of {self.latent_size} have no such level."
            )
        return height, width

    def _share_in_schedule(self, timestep: Any, scheduler: object, may_skip: bool) -> float | None:
        """Return the share of the schedule before a timestep; None where that is not certain."""
        timesteps = getattr(scheduler, "timesteps", None)
        if not isinstance(timesteps, torch.Tensor):
            return None
        now = torch.as_tensor(timestep).flatten()[:1]
        if self.is_packed:
            # A transformer gets timestep / 1000, in its own dtype before or after the division.
            given = now if now.is_floating_point() else now.float()
            shares = timesteps.to(given) / 1000, (timesteps / 1000).to(given)
            places = ((shares[0] == given) | (shares[1] == given)).nonzero().flatten()
        else:
            places = (timesteps == now.to(timesteps)).nonzero().flatten()
        last, self._place = self._place, int(places[0]) if len(places) == 1 else None
        if self._place is None or (not may_skip and last is not None and self._place > last + 1):
            return None
        self._num_steps = len(timesteps)
        return self._place / len(timesteps)


def _read_timestep(timestep: Any) -> float:
    """Return the timestep of a call; raises `StyleError` where its rows have several."""
    rows = torch.as_tensor(timestep).flatten()
    if bool((rows != rows[0]).any()):
        raise StyleError(
            f"The rows of a call have several timesteps, such as {float(rows[0]):g} and {float(rows[-1]):g}, and keys "
            "and values of this adapter change with them; call the network for each alone."
        )
    return float(rows[0])

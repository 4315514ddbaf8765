"""DDIM steps solved for the latents that they begin with, so that a picture leads back to its noise.

A step of DDIM (arXiv 2010.02502, equation 12, η = 0) from timestep t to s is linear in the latents z and the network's
output m(z, t):

    z_s = A·z_t + B·m(z_t, t)

With α = √ᾱ and σ = √(1 − ᾱ) of the scheduler's ᾱ, A and B follow from what the network predicts:

    epsilon        A = α_s / α_t              B = σ_s − α_s σ_t / α_t
    v_prediction   A = α_s α_t + σ_s σ_t      B = σ_s α_t − α_s σ_t
    sample         A = σ_s / σ_t              B = α_s − σ_s α_t / σ_t

Inversion needs z_t of a known z_s, a fixed point of f(z) = (z_s − B·m(z, t)) / A. z_t ← f(z_s) is the inversion of the
DDIM paper. Further evaluations repeat z_t ← (z_t + f(z_t)) / 2, the Krasnosel'skii–Mann iteration. ReNoise
(arXiv 2403.14602, without its averages and its losses on the noise) repeats z_t ← f(z_t), which diverges where f
expands differences: with an earlier mini in 8 steps nothing of the picture was left.
"""

# torch's annotations are incomplete.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..utils.scheduler_config import convert_scheduler
from ..utils.text import one_line, shorten

SMALLEST = 1e-6
"""Smallest |A|: below, a step keeps nothing of the latents, and its begin does not follow from its end."""

DDIM = "DDIMScheduler"


def find_coefficients(alpha_from: float, alpha_to: float, prediction_type: str) -> tuple[float, float]:
    """Return A and B of a step.

    Args:
        alpha_from: ᾱ of the timestep that the step begins with, 0..1.
        alpha_to: ᾱ of the one that it ends with.
        prediction_type: What the network predicts: `"epsilon"`, `"v_prediction"` or `"sample"`.

    Raises:
        ModelError: The step is not defined, or its begin does not follow from its end.
    """
    a, b = alpha_from**0.5, (1 - alpha_from) ** 0.5
    to_a, to_b = alpha_to**0.5, (1 - alpha_to) ** 0.5
    pairs = {
        "epsilon": lambda: (to_a / a, to_b - to_a * b / a),
        "v_prediction": lambda: (to_a * a + to_b * b, to_b * a - to_a * b),
        "sample": lambda: (to_b / b, to_a - to_b * a / b),
    }
    if prediction_type not in pairs:
        raise ModelError(
            f"DDIM cannot be inverted for prediction_type {shorten(prediction_type)}; it is {', '.join(pairs)}."
        )
    if a < SMALLEST and prediction_type == "epsilon":
        raise ModelError("A network that predicts noise cannot be inverted from a timestep without signal (ᾱ = 0).")
    factor, of_output = pairs[prediction_type]()
    if abs(factor) < SMALLEST:
        raise ModelError(
            "A step of this DDIM keeps nothing of its latents, which cannot be found from its result: take more "
            "steps, or a scheduler with set_alpha_to_one=False."
        )
    return factor, of_output


def build_ddim(scheduler: Any) -> Any:
    """Build a DDIM scheduler with the noise schedule, the prediction type and the timesteps of a pipeline's own.

    Args:
        scheduler: A scheduler of diffusers. If it is DDIM, the result has all of its settings.

    Raises:
        ModelError: DDIM cannot have its settings, or it limits the predicted pictures.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    # The others do not limit what a network predicts of latents, which DDIM does by default.
    changes = {} if type(scheduler).__name__ == DDIM else {"clip_sample": False}
    try:
        ddim: Any = convert_scheduler(scheduler, DDIMScheduler, **changes)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        raise ModelError(
            f"{type(scheduler).__name__} has a noise schedule that DDIM cannot have: {one_line(error)}."
        ) from error
    if ddim.config.clip_sample or ddim.config.thresholding:
        raise ModelError(
            "The pipeline's DDIM limits the pictures that it predicts, which cannot be inverted; give it "
            "clip_sample=False and thresholding=False."
        )
    return ddim


class InverseScheduler:
    """What a diffusers pipeline calls as its scheduler to go from latents of a picture to noise.

    Each step of DDIM is `iterations` steps of the pipeline, with the same timestep.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(self, ddim: Any, iterations: int) -> None:
        """
        Args:
            ddim: The scheduler whose steps are inverted.
            iterations: Evaluations of the network for each step, from 1.
        """
        self.ddim, self.iterations, self.config = ddim, iterations, ddim.config
        self.timesteps = ddim.timesteps
        self.trajectory: list[Tensor] = []
        """Latents in float32: first those of the picture, and those before each step of DDIM, the last step first."""
        self._calls = 0

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Set the timesteps, ascending, each `iterations` times.

        Args:
            num_inference_steps: Number of steps of DDIM.
            device: Device of the timesteps.
        """
        self.ddim.set_timesteps(num_inference_steps, device=device)
        self.timesteps = self.ddim.timesteps.flip(0).repeat_interleave(self.iterations)
        self.trajectory, self._calls = [], 0

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Return the latents, as DDIM does."""
        return sample

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        """Improve the latents before one step of DDIM.

        Args:
            model_output: Output of the network for `sample`, with guidance.
            timestep: The timestep.
            sample: Latents: those after the step at its first call, then the last result.
            return_dict: As in diffusers; its pipelines pass False.

        Returns:
            A tuple with the latents.
        """
        if not self.trajectory:
            self.trajectory.append(sample.float())
        factor, of_output = self.coefficients(int(timestep))
        found = (self.trajectory[-1] - of_output * model_output.float()) / factor
        if self._calls % self.iterations:
            found = (found + sample.float()) / 2
        self._calls += 1
        if self._calls % self.iterations == 0:
            self.trajectory.append(found)
        return (found.to(sample.dtype),)

    def coefficients(self, timestep: int) -> tuple[float, float]:
        """Return A and B of the step of DDIM that begins with a timestep."""
        alphas, steps = self.ddim.alphas_cumprod, int(self.ddim.num_inference_steps or 1)
        # As `DDIMScheduler.step` has it; where steps do not divide the timesteps, this is not the next one's.
        following = timestep - int(self.config["num_train_timesteps"]) // steps
        to = alphas[following] if following >= 0 else self.ddim.final_alpha_cumprod
        pair = torch.stack([alphas[timestep], torch.as_tensor(to)]).double().tolist()
        return find_coefficients(pair[0], pair[1], str(self.config["prediction_type"]))

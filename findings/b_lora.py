"""A B-LoRA (arXiv 2403.14572) of one picture: LoRA layers of the blocks that carry its object and its style.

B-LoRA trains the low-rank layers of two blocks of SDXL together on one picture and a prompt that names its object. The
words and the block of the object explain the object, so that the other block's layers hold the style and can be used
alone. Here the blocks are all of `up_blocks.0`, in which mini has the roles that SDXL has.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from instantstyle import LoraStyle
from instantstyle.core.latent_colours import encode_picture
from instantstyle.evaluation.experiment import Experiment
from instantstyle.utils.atomic_write import atomic_write
from instantstyle.utils.scheduler_config import convert_scheduler

RANK, STEPS, BATCH, LR = 8, 150, 4, 2e-3
"""Rank of the layers, steps of training, noisy copies of the picture in each, and AdamW's learning rate. The authors
take rank 64, 1,000 steps of one copy and 5e-5 on SDXL."""
LAYERS = r"up_blocks\.0\.attentions\..*\.(to_q|to_k|to_v|to_out\.0)"
"""Names of the layers, as a pattern."""


def style_of_picture(experiment: Experiment, number: int, steps: int = STEPS) -> LoraStyle:
    """Return the layers of the style blocks of a reference's B-LoRA, which is trained where its file is missing.

    Args:
        experiment: The experiment, in whose folder the files are.
        number: Index of the reference.
        steps: Steps of training.
    """
    path = experiment.folder / "b-loras" / f"{number}-{steps}.safetensors"
    if not path.exists():
        train_b_lora(experiment, number, path, steps)
    return LoraStyle(path, blocks="style")


def train_b_lora(experiment: Experiment, number: int, path: Path, steps: int) -> list[float]:
    """Train the B-LoRA of a reference and write it in diffusers' layout.

    Args:
        experiment: Its model and references; the seed depends on its seed and the number.
        number: Index of the reference, whose `content` is the prompt.
        path: The file.
        steps: Steps of training.

    Returns:
        The loss of each step: the mean squared error of the velocity, which mini predicts.
    """
    pipe: Any = experiment.styled.pipe
    reference = experiment.references[number]
    side = pipe.unet.config.sample_size
    picture = encode_picture(pipe, reference.image, (side, side)).float()
    unet = deepcopy(pipe.unet).float().requires_grad_(False)
    generator = torch.Generator().manual_seed(experiment.seed + number)
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed + number)
        unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LAYERS))
    weights = [weight for weight in unet.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, LR)
    schedule: Any = convert_scheduler(pipe.scheduler, DDPMScheduler)
    with torch.no_grad():
        states, _, pooled, _ = pipe.encode_prompt(reference.content or "", do_classifier_free_guidance=False)
    px = float(side * pipe.vae_scale_factor)
    time_ids = torch.tensor([[px, px, 0.0, 0.0, px, px]]).expand(BATCH, -1)
    added = {"text_embeds": pooled.float().expand(BATCH, -1), "time_ids": time_ids}
    latents, losses = picture.expand(BATCH, -1, -1, -1), []
    for _ in range(steps):
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(schedule.config.num_train_timesteps, (BATCH,), generator=generator)
        noisy = schedule.add_noise(latents, noise, timesteps)
        predicted = unet(noisy, timesteps, states.float().expand(BATCH, -1, -1), added_cond_kwargs=added).sample
        loss = F.mse_loss(predicted, schedule.get_velocity(latents, noise, timesteps))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, force=True) as draft:
        save_file({f"unet.{name}": weight.contiguous() for name, weight in layers.items()}, draft)
    return losses

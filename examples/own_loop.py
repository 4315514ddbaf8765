"""Use a style with a diffusers pipeline's own call: other arguments, callbacks, several calls in one `with` block.

python examples/own_loop.py "a sailboat" "a mushroom" --style ink.png
"""

import argparse

import torch

import instantstyle


def generate(styled: instantstyle.InstantStyle, prompts: list[str], reference: str) -> list[str]:
    """Generate the prompts one after another, and report the latents of each step; returns the file names."""

    def report(pipe: object, step: int, timestep: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict:
        print(f"step {step + 1}: latents of deviation {tensors['latents'].float().std():.2f}")
        return tensors

    files = [f"{prompt.replace(' ', '-')}.png" for prompt in prompts]
    with styled.using(styled.style(reference), blocks="style", scale=0.8) as pipe:
        for prompt, file in zip(prompts, files, strict=True):
            generator = torch.Generator().manual_seed(7)
            call = dict(num_inference_steps=4, guidance_scale=1.0, callback_on_step_end=report)
            pipe(prompt, generator=generator, **call).images[0].save(file)
    return files  # here the pipeline has its original attention processors again


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--style", required=True)
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    generate(instantstyle.load(args.model), args.prompts, args.style)

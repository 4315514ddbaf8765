"""Save a style as a small file, and generate with the plain base model: no adapter and no image encoder.

python examples/portable_style.py "a sailboat" ink.png --content "a cat"
"""

import argparse

import instantstyle


def write_style(model: str, reference: str, content: str | None, file: str) -> None:
    """Write the style of a reference, with the keys and values of the model's style blocks."""
    styled = instantstyle.load(model)
    styled.bind(styled.style(reference, content=content)).save(file, force=True)


def draw(model: str, prompt: str, file: str, output: str) -> None:
    """Generate an image with a style file; the model is loaded without its adapter."""
    plain = instantstyle.load(model, plain=True)
    plain(prompt, style=file, seed=7).save(output, force=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("prompt", "reference"):
        parser.add_argument(name)
    parser.add_argument("--content")
    parser.add_argument("--file", default="portable.style.safetensors")
    parser.add_argument("-o", "--output", default="portable.png")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    write_style(args.model, args.reference, args.content, args.file)
    draw(args.model, args.prompt, args.file, args.output)

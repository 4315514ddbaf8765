"""Generate one prompt four times: without a reference, with plain IP-Adapter, with its style, and without its content.

python examples/first_style.py "a sailboat" ink.png "a cat" -o compared.png
"""

import argparse

from PIL import Image

import instantstyle


def compare(styled: instantstyle.InstantStyle, prompt: str, reference: str, content: str) -> Image.Image:
    """Generate the four images side by side, all from one seed."""
    plain = styled.style(reference)
    without_content = styled.style(reference, content=content)
    images = [
        styled(prompt, seed=7).images[0],
        styled(prompt, style=plain, blocks="all", seed=7).images[0],
        styled(prompt, style=plain, blocks="style", seed=7).images[0],
        styled(prompt, style=without_content, blocks="style", seed=7).images[0],
    ]
    sheet = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    for number, image in enumerate(images):
        sheet.paste(image, (number * image.width, 0))
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("prompt", "reference", "content"):
        parser.add_argument(name)
    parser.add_argument("-o", "--output", default="compared.png")
    parser.add_argument("--model", default="mini")
    args = parser.parse_args()
    compare(instantstyle.load(args.model), args.prompt, args.reference, args.content).save(args.output)

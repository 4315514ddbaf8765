"""What to do with files that are not images in a supported format, as far as their first bytes tell."""

_SAVE_AS_PNG = "save it as PNG or JPEG"

_CONVERT_HEIC = (
    "convert it to JPEG: `sips -s format jpeg IN.heic --out OUT.jpg` on macOS, `magick IN.heic OUT.jpg` elsewhere, or "
    "set an iPhone's camera to Most Compatible"
)

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_SIGNATURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG or XML"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"\0\0\1\0", "ICO"),
)

_KNOWN = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"RIFF", "WebP"),
)


def describe_unsupported(head: bytes, formats: str) -> str:
    """Say why Pillow does not identify a file, for the end of an error message.

    Args:
        head: The first 32 bytes of the file.
        formats: The supported formats.

    Returns:
        The predicate of a sentence whose subject is the file: what it is and how to convert it.
    """
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return f"is AVIF, which this installation of Pillow cannot decode, or is damaged; {_SAVE_AS_PNG}."
        if head[8:12] in _HEIC_BRANDS:
            return f"is a HEIC image, which is not decoded; {_CONVERT_HEIC}."
        return f"is a video or another kind of media file; use an image: {formats}."
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return f"is {name}, which is not decoded; {_SAVE_AS_PNG}."
    for signature, name in _KNOWN:
        if head.startswith(signature):
            return f"is a {name} that is damaged, or of a kind that is not decoded; {_SAVE_AS_PNG}, with 8 bits."
    return f"is not an image in a supported format; use {formats}."

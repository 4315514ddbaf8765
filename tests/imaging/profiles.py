"""Small ICC profiles for tests, written byte by byte (ICC.1:2010)."""

import struct
from collections.abc import Sequence

D50 = (0.9642, 1.0, 0.8249)

DISPLAY_P3 = ((0.515102, 0.241182, -0.001053), (0.291965, 0.692236, 0.041882), (0.157153, 0.066582, 0.784378))
"""XYZ of red, green and blue at D50, as in Apple's profile; its curve is that of sRGB."""

ADOBE_RGB = ((0.609741, 0.311111, 0.019470), (0.205276, 0.625671, 0.060867), (0.149185, 0.063217, 0.744568))
"""XYZ of red, green and blue at D50, as in Adobe RGB (1998); its curve is a power of 563/256."""

SRGB = ((0.436066, 0.222488, 0.013916), (0.385147, 0.716873, 0.097076), (0.143066, 0.060608, 0.714096))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _srgb_curve() -> bytes:
    parameters = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0\0\3\0\0" + b"".join(map(_fixed, parameters))


def _power_curve(gamma: float) -> bytes:
    return b"para\0\0\0\0\0\0\0\0" + _fixed(gamma)


def _text(words: str) -> bytes:
    encoded = words.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text("test"), b"cprt": _text("none"), b"wtpt": _xyz(D50), **tags}
    table, data = b"", b""
    offset = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += struct.pack(">4sII", name, offset + len(data), len(value))
        data += value
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"test", 0x04000000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s4sIIIQI", 2026, 1, 1, 0, 0, 0, b"acsp", b"\0" * 4, 0, 0, 0, 0, 0)
    return (header + b"".join(map(_fixed, D50))).ljust(128, b"\0") + body


def rgb_profile(primaries: Sequence[Sequence[float]], gamma: float | None = None) -> bytes:
    """Build a profile of three primaries; the curve is a power, or sRGB's for None."""
    curve = _srgb_curve() if gamma is None else _power_curve(gamma)
    colors = {f"{letter}XYZ".encode(): _xyz(xyz) for letter, xyz in zip("rgb", primaries, strict=True)}
    return _profile(b"RGB ", colors | {f"{letter}TRC".encode(): curve for letter in "rgb"})


def grey_profile(gamma: float) -> bytes:
    """Build a profile of grey whose curve is a power."""
    return _profile(b"GRAY", {b"kTRC": _power_curve(gamma)})


def cmyk_profile() -> bytes:
    """Build a profile of CMYK in which black ink alone decides: Lab lightness 0 with it, 50 without (119 in sRGB)."""
    grid = b"".join(bytes([0 if black else 128, 128, 128]) for _ in range(8) for black in (0, 1))
    identity = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += b"".join(map(_fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1))) + identity * 4 + grid + identity * 3
    profile = _profile(b"CMYK", {b"A2B0": lut})
    return profile[:12] + b"prtr" + b"CMYK" + b"Lab " + profile[24:]

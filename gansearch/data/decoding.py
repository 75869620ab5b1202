"""One image file to bytes: upright, square, 8 bits a channel; what was lost on the way is told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FURTHER_FRAMES = "have further frames or pages: the first of each is used"
SIXTEEN_BITS = "have 16 bits a channel: the upper 8 are used"
DARK = "have 16 bits a channel of which the upper 4 are never set: they are nearly black; stretch them"
TRANSPARENT = "have transparency, which is dropped"

_SIXTEEN = re.compile(r"(I|L|LA|RGB|RGBA|RGBX|CMYK);16[BLN]?")
_PREVIEWS = ("MPO", "ICO", "ICNS", "CUR")
"""Formats whose further frames are previews or other sizes of the same picture."""


class Unreadable(Exception):
    """Why an image cannot be used, in words."""


def decode(file: Path, size: int, channels: int) -> tuple[np.ndarray, list[str]]:
    """An image as uint8 [channels, size, size], and what was lost of it.

    16 bits a channel become 8 by dropping the lower 8, gray as Pillow does it for colours.

    Raises:
        Unreadable: any reason why not.
    """
    try:
        with Image.open(file) as image:
            bits, lost = _bits(image), _lost(image)  # before loading, which forgets the layout
            inverted = getattr(image, "tag_v2", {}).get(262) == 0  # TIFF: white is zero
            dark, narrow = _to_8_bits(ImageOps.exif_transpose(image), bits, inverted)
            square = ImageOps.fit(
                narrow.convert("RGB" if channels == 3 else "L"), (size, size), Image.Resampling.BILINEAR
            )
    except Unreadable:
        raise
    except Exception as error:  # each format has failures of its own
        raise Unreadable(_words(error, file)) from error
    pixels = np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)
    return pixels, [*lost, DARK] if dark else lost


def _lost(image: Image.Image) -> list[str]:
    lost = []
    if getattr(image, "is_animated", False) and image.format not in _PREVIEWS:
        lost.append(FURTHER_FRAMES)
    if _bits(image) == 16:
        lost.append(SIXTEEN_BITS)
    if image.has_transparency_data:
        lost.append(TRANSPARENT)
    return lost


def _bits(image: Image.Image) -> int:
    """Bits of a channel as it is stored: 8, 12, 16, or 32."""
    raw = _raw(image)
    if raw == "I;12":
        return 12
    if image.mode.startswith("I;16") or _SIXTEEN.fullmatch(raw):
        return 16
    if image.mode == "I" and image.format == "PPM":
        return 16  # Pillow stretches whatever maximum the file states to 16 bits
    return 32 if image.mode in ("I", "F") else 8


def _raw(image: Image.Image) -> str:
    """The layout of the pixels in the file, by Pillow's name; empty where a format has none."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _to_8_bits(image: Image.Image, bits: int, inverted: bool) -> tuple[bool, Image.Image]:
    """Whether a gray image is nearly black for want of stretching, and the image in 8 bits."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return False, image
    if bits == 32:
        raise Unreadable(
            f"32 bits a channel (mode {image.mode}) have no fixed black and white: convert to 8 or 16"
        )
    values = np.asarray(image).astype(np.int64)
    if inverted:
        values = 2**bits - 1 - values
    dark = bits == 16 and 0 < values.max() < 2**12
    return bool(dark), Image.fromarray((values >> (bits - 8)).clip(0, 255).astype(np.uint8))


def _words(error: Exception, file: Path) -> str:
    """What is wrong, for people, without the path that the message begins with anyway."""
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        size = f"{int(pixels[1]):,} pixels" if pixels else "too many pixels"
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"{size}, more than the {limit:,} that are safe to open: scale it down"
    if isinstance(error, UnidentifiedImageError):
        if not file.stat().st_size:
            return "an empty file (0 bytes)"
        return "not an image that Pillow can read, or damaged at its beginning"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"damaged: {error}" if str(error) else f"damaged: {type(error).__name__}"

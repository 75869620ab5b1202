"""Pictures of samples: a grid of images, a scatter of points."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

SIDE = 384
"""Pixels of a side of one panel."""

SHARPER = 2
"""Panels are drawn so many times larger and then shrunk, for round points."""

DOT = 1.6
"""Radius of a point in pixels."""

MARGIN = 0.15
"""Of the real points' range, on each side."""

FAKE, REAL, FRAME, INK = (31, 119, 180), (110, 110, 110), (190, 190, 190), (60, 60, 60)


def grid(images: Tensor) -> Image.Image:
    """Images (uint8, N x C x H x W) as one square grid, enlarged if they are tiny."""
    made = _tiled(images.cpu().expand(-1, 3, -1, -1))
    factor = max(1, 32 // images.shape[-1])
    picture = Image.fromarray(made.permute(1, 2, 0).contiguous().numpy())
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def _tiled(images: Tensor) -> Tensor:
    """N x C x H x W -> C x height x width: rows of a square, each image of several in a black line."""
    count, channels, height, width = images.shape
    if count == 1:
        return images[0]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = images.new_zeros(channels, rows * (height + 1) + 1, columns * (width + 1) + 1)
    for i, image in enumerate(images):
        top, left = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        grid[:, top : top + height, left : left + width] = image
    return grid


def scatter(points: np.ndarray, real: np.ndarray) -> Image.Image:
    """Generated points (float, N x D) and, on the same axes and if there are any, real ones (M x D).

    Shown are the first two coordinates; points of one number are spread upwards in the order in which
    they come. What is not finite, or far outside the real points' range, is left out and counted.
    """
    low, high = _window(real if len(real) else points)
    panels = [_panel(points, low, high, FAKE, "generated")]
    if len(real):
        panels.append(_panel(real, low, high, REAL, "real"))
    whole = Image.new("RGB", (SIDE * len(panels), SIDE), "white")
    for column, panel in enumerate(panels):
        whole.paste(panel, (column * SIDE, 0))
    return whole


def _plane(points: np.ndarray) -> np.ndarray:
    """N x 2: what is drawn of N x D points."""
    if points.shape[1] > 1:
        return points[:, :2].astype(float)
    spread = (np.arange(len(points)) + 0.5) / max(len(points), 1)
    return np.column_stack([points[:, 0], spread])


def _window(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a square that holds the points."""
    plane = _plane(points)
    plane = plane[np.isfinite(plane).all(1)]
    if not len(plane):
        return np.full(2, -1.0), np.full(2, 1.0)
    low, high = plane.min(0), plane.max(0)
    half = max(float((high - low).max()), 1e-6) * (0.5 + MARGIN)
    if points.shape[1] == 1:  # a point alone is a range of its own
        half = max(half, 0.5 + MARGIN)
    middle = (low + high) / 2
    return middle - half, middle + half


def _panel(
    points: np.ndarray, low: np.ndarray, high: np.ndarray, colour: tuple[int, int, int], title: str
) -> Image.Image:
    side, radius = SIDE * SHARPER, DOT * SHARPER
    panel = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(panel)
    plane = _plane(points)
    inside = (np.isfinite(plane) & (plane >= low) & (plane <= high)).all(1)
    for x, y in (plane[inside] - low) / (high - low) * (side - 1):
        box = (x - radius, side - 1 - y - radius, x + radius, side - 1 - y + radius)
        pen.ellipse(box, fill=colour)
    panel = panel.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(panel)
    pen.rectangle((0, 0, SIDE - 1, SIDE - 1), outline=FRAME)
    outside = f", {(~inside).sum()} outside" if not inside.all() else ""
    pen.text((6, 4), f"{title}: {len(points)}{outside}", fill=INK)
    ends = f"{low[0]:.3g} to {high[0]:.3g}"
    if points.shape[1] > 1:
        ends += f", {low[1]:.3g} to {high[1]:.3g}"
    pen.text((6, SIDE - 16), ends, fill=INK)
    return panel

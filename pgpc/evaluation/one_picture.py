"""Segmenting one picture, from whatever a program has of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps

from pgpc.config import Config
from pgpc.data.image_files import decode_image, read_file
from pgpc.data.image_limits import PictureError
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.transforms import box_size, whole_image
from pgpc.evaluation.formats import Segmented
from pgpc.evaluation.segmentation import class_and_probability, logits
from pgpc.models.segmenter import Segmenter
from pgpc.runtime.checks import check

AnyPicture: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray"
"""A file, or its pixels."""


def pixels_of(image: AnyPicture, form: PixelForm = RGB) -> np.ndarray:
    """Return a picture as an array.

    Args:
        image: A file, a picture of Pillow, or an array ``(H, W, bands)`` or ``(H, W)``, which is taken for gray. The
            first two are turned upright as their EXIF orientation says.
        form: The bands and bits that it must have.

    Returns:
        ``(H, W, bands)``; an array of another form is returned as it is, and refused later.

    Raises:
        ValueError: The file cannot be read or decoded; the message names it.
    """
    if isinstance(image, (str, os.PathLike)):
        try:
            return decode_image(read_file(Path(image)), form=form)
        except PictureError as error:
            raise PictureError(f"{image}: {error}") from error
    if isinstance(image, Image.Image):
        upright = ImageOps.exif_transpose(image)
        return np.array(upright.convert("RGB") if form == RGB else upright)
    gray = image.ndim == 2 and form.bands in (1, 3)
    return np.repeat(image[..., None], form.bands, axis=2) if gray else image


def segment_picture(model: Segmenter, config: Config, image: np.ndarray) -> Segmented:
    """Segment one picture of any size.

    Args:
        model: The network, in evaluation mode, on any device.
        config: The config, which says how images of the target are resized and whether there are
            windows, scales and a mirrored copy.
        image: Picture ``(H, W, bands)``, of the form that the config says.

    Raises:
        ValueError: `image` is no such array, or is so narrow that the network cannot take it.
    """
    data = config.data
    form = data.pixels
    kind = "RGB" if form == RGB else "as the images that the network was trained on"
    check(
        form.fits(image),
        f"image must be (H, W, {form.bands}) {form.dtype} {kind}",
        (image.shape, str(image.dtype)),
    )
    size = box_size(image.shape[1], image.shape[0], data.target_size, data.fit)
    check(
        min(size) >= model.shortest_side,
        f"a picture must be at least {model.shortest_side} pixels high and wide after resizing",
        size,
        "It is too narrow for data.target_size; cut it into parts.",
    )
    pixels = whole_image(image, data.target_size, data.fit, data.interpolation, data.normalization)
    pixels = pixels.to(next(model.parameters()).device)
    with torch.inference_mode():
        scores = logits(model, pixels, evaluation=config.evaluation)
        ids, probability = class_and_probability(scores, image.shape[:2], model.align_corners)
    return Segmented(ids.to(torch.uint8).cpu().numpy(), probability.cpu().numpy())

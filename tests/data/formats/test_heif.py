"""HEIC photos, and photos in the colors of ink."""

from __future__ import annotations

import builtins
import io

import numpy as np
import pytest
from PIL import Image

from pgpc.data.formats.heif import is_heif
from pgpc.data.image_files import decode_image, goes_into_tiles, read_header
from pgpc.data.image_limits import PictureError
from pgpc.data.pixel_form import PixelForm

SMOOTH = np.add.outer(np.arange(48) * 2, np.arange(64) * 2).astype(np.uint8)[..., None].repeat(3, axis=2)


@pytest.fixture
def heic() -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, "HEIF", quality=90)
    return file.getvalue()


def test_photos_of_phones_are_read(heic: bytes) -> None:
    assert is_heif(heic) and read_header(heic) == (64, 48) and goes_into_tiles(heic)
    assert np.abs(decode_image(heic).astype(int) - SMOOTH).max() <= 6
    with pytest.raises(PictureError, match="must have 3 bands of 16 bits, but it is a HEIF of 8 bits"):
        decode_image(heic, form=PixelForm(3, 16))


@pytest.mark.parametrize("size", [40, 200])
def test_damaged_photos_are_refused(heic: bytes, size: int) -> None:
    with pytest.raises(PictureError):
        decode_image(heic[:size])


def test_without_the_library_it_is_named(heic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: object, **named: object) -> object:
        if name == "pillow_heif":
            raise ImportError(name)
        return whole(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PictureError, match=r"pip install 'pgpc\[heic\]'"):
        decode_image(heic)


def test_ink_becomes_rgb() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (64, 48), (0, 255, 255, 0)).save(file, "jpeg", quality=95)
    assert np.abs(decode_image(file.getvalue()).astype(int) - (255, 0, 0)).max() <= 8
    tiff = io.BytesIO()
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tiff, "tiff")
    assert decode_image(tiff.getvalue())[0, 0].tolist() == [0, 255, 255]

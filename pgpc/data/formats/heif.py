"""HEIC files, the photos of phones, which Pillow reads where pillow-heif is installed."""

from __future__ import annotations

from pgpc.data.image_limits import PictureError

_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def is_heif(data: bytes | memoryview) -> bool:
    """Return whether a file is a HEIC or another HEIF, by its first bytes."""
    return bytes(data[4:8]) == b"ftyp" and bytes(data[8:12]) in _BRANDS


def register() -> None:
    """Have Pillow know the format, which it then calls "HEIF"; photos come upright, and with 8 bits.

    Raises:
        PictureError: The library is not installed.
    """
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise PictureError(
            "HEIC files are read by pillow-heif, which is not installed. Install it: pip install 'pgpc[heic]'; or "
            "convert them to JPEG."
        ) from error
    register_heif_opener(thumbnails=False)

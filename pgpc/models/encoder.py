"""Encoders: MiT, or any of timm's backbones that gives four feature maps at the strides that a decoder needs.

A plain vision transformer, whose blocks all have one stride, gets a pyramid for that.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pgpc.models.feature_maps import SIZES, check_maps, multiple_of_sides, pad_images
from pgpc.models.mit import OUTLINES, OWN_STRIDES, Stage, build_mit
from pgpc.models.timm_names import check_name, pretrained_config
from pgpc.models.undrawn import without_draws
from pgpc.models.vit.plain import SIZES_AT_WILL, PlainEncoder, is_plain

_FAILURES = (AssertionError, AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError)

_NOT_PLAIN = (
    "model.encoder must be a plain vision transformer for model.architecture=vit_light, but {name!r} is none. Choose "
    "for example 'vit_base_patch14_dinov2', or another architecture."
)

Strides = tuple[int, int, int, int]


class _Way(NamedTuple):
    """How a model is made that takes images of any size.

    Attributes:
        options: Options of timm's `create_model`.
        multiple: What the sides of images are padded to multiples of.
        plain: Whether it is a plain vision transformer.
    """

    options: Mapping[str, Any]
    multiple: int
    plain: bool = False


def check_encoder(
    name: str,
    *,
    strides: Strides | None,
    drop_path: float,
    checkpointing: bool,
    image_scale: float = 1.0,
    bands: int = 3,
) -> nn.Module:
    """Find, without memory for its weights, what would keep an encoder from being built.

    The arguments and errors are those of :func:`build_encoder`, and the error of :func:`check_centered`, which building
    does without, for networks that were trained before.

    Returns:
        The encoder, on the meta device.
    """
    with _without_trace():
        encoder, _ = build_encoder(
            name,
            strides=strides,
            drop_path=drop_path,
            checkpointing=checkpointing,
            image_scale=image_scale,
            bands=bands,
        )
    if strides is not None and strides[-1] < 32:
        check_centered(encoder, name)
    return encoder


def check_centered(encoder: nn.Module, name: str) -> None:
    """Refuse an encoder whose dilated features lie beside the pixels that they are compared with.

    A shortcut that averages 2 x 2 cells before it skips every other one (`avg_down` of timm, as in ResNet-D) is dilated
    by averaging each cell with its neighbors to the right and below, which shifts it by half a cell. Over the blocks of
    a network that adds up: of "resnet50d" at stride 8, to 10 pixels with the average that does skip.

    Args:
        encoder: A network of :func:`build_encoder`.
        name: What timm calls it.

    Raises:
        ValueError: It has such a shortcut.
    """
    if any(isinstance(module, nn.AvgPool2d) and _is_shifted(module) for module in encoder.modules()):
        raise ValueError(
            "model.encoder must have shortcuts that stay in place when 'deeplabv2' dilates it, but those of "
            f"{name!r} average pairs of cells, which shifts features by up to 1.25 cells against the labels that they "
            f"are compared with. Choose another, for example {_example((8,))}."
        )


def _is_shifted(pool: nn.AvgPool2d) -> bool:
    """Return whether an average keeps all cells and has no cell in its center."""
    sides, strides = (torch.Size([x, x] if isinstance(x, int) else x) for x in (pool.kernel_size, pool.stride))
    return any(side % 2 == 0 and stride == 1 for side, stride in zip(sides, strides, strict=True))


def build_encoder(
    name: str,
    *,
    strides: Strides | None,
    drop_path: float,
    checkpointing: bool,
    image_scale: float = 1.0,
    bands: int = 3,
) -> tuple[nn.Module, list[int]]:
    """Build a network that maps images to its last four feature maps.

    A map at stride s of an image of H x W pixels has ceil(H/s) x ceil(W/s) cells, so that cell (i, j) always shows the
    s x s pixels from (s * i, s * j) on. Many backbones give other maps, or none, where a side is no multiple of 32: for
    these images are padded with 0, the mean color, at the right and bottom, and the cells of the padding cut off.

    Args:
        name: A MiT, or a model of timm. Where its input size is fixed only by habit, as that of Swin, any size will do.
        strides: s, the strides of the four maps. If the last is below 32, the model is dilated to end with that
            stride. None takes the last block's map alone, which only a plain vision transformer gives.
        drop_path: Stochastic depth of the last block, in [0, 1).
        checkpointing: Whether activations are computed again in the backward pass.
        image_scale: What a plain vision transformer enlarges images by, see :class:`PlainEncoder`.
        bands: Bands of the images.

    Returns:
        The network, which maps images ``(B, bands, H, W)`` to a list of maps ``(B, C_i, ceil(H/s), ceil(W/s))``, finest
        first; and the channels C_i.

    Raises:
        ValueError: timm has no such model, it cannot be built so, or it gives other maps.
    """
    check_name(name)
    if name in OUTLINES:
        _check_of_mit(name, strides, image_scale)
        mit = build_mit(name, drop_path=drop_path, bands=bands)
        for stage in mit_stages(mit):
            stage.checkpointing = checkpointing
        return mit, mit.channels
    way = _find_way(name, strides, drop_path, bands)
    if way.plain:
        plain = _create_plain(name, way.options, strides, image_scale)
        if checkpointing:
            _checkpoint(plain.vit, name)
        return plain, list(plain.channels)
    _check_scale(name, image_scale)
    assert strides is not None, "only a plain vision transformer has a way without"
    encoder = _create(name, way.options)
    _check_outline(encoder, name, strides)
    pad_images(encoder, way.multiple, strides)
    if checkpointing:
        _checkpoint(encoder, name)
    info: Any = encoder.feature_info
    return encoder, info.channels()


def _check_of_mit(name: str, strides: Strides | None, image_scale: float) -> None:
    """Refuse to build a MiT otherwise than it is."""
    _check_scale(name, image_scale)
    if strides is None:
        raise ValueError(_NOT_PLAIN.format(name=name))
    if strides != OWN_STRIDES:
        raise ValueError(
            "model.encoder must be one that can be dilated where model.architecture=deeplabv2, to end at stride "
            f"{strides[-1]}, but {name!r} ends at {OWN_STRIDES[-1]}. Choose another, for example {_example(strides)}."
        )


def _check_scale(name: str, image_scale: float) -> None:
    if image_scale != 1:
        raise ValueError(
            f"model.image_scale must be 1 for an encoder that is no plain vision transformer, but {name!r} has "
            f"{image_scale}. Set model.image_scale=1, or choose for example 'vit_base_patch14_dinov2'."
        )


@contextlib.contextmanager
def _without_trace() -> Iterator[None]:
    """Make what is made within without numbers, and without drawing any from torch's generator."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad(), without_draws():
        yield


def _create(name: str, options: Mapping[str, Any]) -> nn.Module:
    import timm

    # The last four maps: convolutional networks often have one more at stride 2.
    encoder: nn.Module = timm.create_model(name, features_only=True, out_indices=(-4, -3, -2, -1), **options)
    if name.startswith("hiera"):
        from pgpc.models.vit.hiera import take_any_size

        take_any_size(encoder)
    return encoder


def _create_plain(
    name: str, options: Mapping[str, Any], strides: Strides | None, image_scale: float = 1.0
) -> PlainEncoder:
    import timm

    return PlainEncoder(timm.create_model(name, **options), pyramid=strides is not None, scale=image_scale)


@functools.cache
def _find_way(name: str, strides: Strides | None, drop_path: float, bands: int = 3) -> _Way:
    """Find out how timm's model is made such that it takes images of any size, and has its maps where strides say.

    It is tried on the meta device, which takes a second.
    """
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path > 0 else {}
    if bands != 3:
        options["in_chans"] = bands
    if strides is not None and strides[-1] < 32:
        options["output_stride"] = strides[-1]
    pretrained_cfg = pretrained_config(name)
    fixed_size = pretrained_cfg is not None and pretrained_cfg.fixed_input_size
    # How a model whose weights came with one size is told to take others, by family.
    ways: list[dict[str, Any]] = [{"strict_img_size": False}, {"dynamic_img_size": True}, {}] if fixed_size else [{}]
    for extra in ways:
        try:
            with _without_trace():
                encoder = _create(name, {**options, **extra})
                if is_plain(_reduction(encoder)):
                    return _plain_way(name, options, strides, bands)
                if strides is None:
                    raise ValueError(_NOT_PLAIN.format(name=name))
                _check_outline(encoder, name, strides)
                return _Way({**options, **extra}, multiple_of_sides(encoder, strides, bands))
        except _FAILURES as error:
            failure = error
    raise ValueError(
        f"model.encoder must give {'four feature maps' if strides else 'a map'} of images of any size, but timm's "
        f"{name!r} does not with "
        f"options {options}: {str(failure).rstrip('.') or type(failure).__name__}. Choose another, "
        f"for example {_example(strides)}"
        + (", or set model.drop_path=0 if it has no such option." if "drop_path_rate" in options else ".")
    ) from failure


def _plain_way(name: str, options: Mapping[str, Any], strides: Strides | None, bands: int) -> _Way:
    """Find out how a plain vision transformer is made such that it takes images of any size, on the meta device."""
    for extra in SIZES_AT_WILL:
        try:
            encoder = _create_plain(name, {**options, **extra}, strides).eval()
            patch = encoder.patch
            check_maps(encoder, SIZES, strides or (patch,), encoder.channels, bands)
            return _Way({**options, **extra}, 1, plain=True)
        except _FAILURES as error:
            failure = error
    raise failure


def _reduction(encoder: nn.Module) -> tuple[int, ...]:
    """Return pixels per cell of the maps, as a model says."""
    info: Any = encoder.feature_info
    return tuple(info.reduction())


def _check_outline(encoder: nn.Module, name: str, strides: Sequence[int]) -> None:
    """Check what a model says of its maps, and have it give them channels first."""
    if _reduction(encoder) != strides:
        raise ValueError(
            f"model.encoder must give feature maps at strides {strides}, but {name!r} gives "
            f"{_reduction(encoder)}. Choose a hierarchical backbone, for example {_example(strides)}."
        )
    layout = str(getattr(encoder, "output_fmt", "NCHW")).removeprefix("Format.")
    if layout == "NHWC":
        # A hook and not a wrapper, so that parameters keep their names.
        encoder.register_forward_hook(_channels_first)
    elif layout != "NCHW":
        raise ValueError(
            f"model.encoder must give feature maps (B, C, H, W) or (B, H, W, C), but {name!r} gives {layout}. "
            f"Choose a hierarchical backbone, for example {_example(strides)}."
        )


def _example(strides: Sequence[int] | None) -> str:
    if strides is None:
        return "'vit_base_patch14_dinov2'"
    return "'mit_b5' or 'resnet50'" if strides[-1] == 32 else "'resnet101'"


def _channels_first(encoder: nn.Module, args: tuple[Tensor], maps: list[Tensor]) -> list[Tensor]:
    return [x.permute(0, 3, 1, 2).contiguous() for x in maps]


def mit_stages(encoder: nn.Module) -> list[Stage]:
    """Return the stages of a Mix Transformer; of another encoder none.

    Args:
        encoder: A network of :func:`build_encoder`.
    """
    return [module for module in encoder.modules() if isinstance(module, Stage)]


def _checkpoint(encoder: nn.Module, name: str) -> None:
    """Let an encoder compute activations again in the backward pass, or raise ValueError where it cannot."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules()):
        raise ValueError(
            "model.checkpointing must be False for an encoder with batch norm, whose running averages would count "
            f"every batch twice, but got {name!r}. Choose a transformer, or a smaller batch."
        )
    switch_on: Any = getattr(encoder, "set_grad_checkpointing", None)
    if switch_on is None:
        raise ValueError(
            f"model.checkpointing must be False for an encoder that timm cannot checkpoint, but got {name!r}. "
            "Choose another encoder, for example 'mit_b5', or a smaller batch."
        )
    switch_on()

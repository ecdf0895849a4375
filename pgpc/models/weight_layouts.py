"""Layouts: how files of weights name their entries, and what these are called in our network."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from pgpc.models.finetuning import DIGEST

_NETWORKS = {"student": "model.", "teacher": "ema_model."}
"""Prefixes in a checkpoint of DAFormer, HRDA or MIC. It also holds a frozen ImageNet encoder, ``imnet_model.*``."""

_AFTER_ENCODER = (
    *("head", "head_dist", "fc", "classifier", "norm", "conv_head", "bn2", "final_conv"),
    *("attn_pool", "fc_norm", "mask_token", "blocks_token_only"),  # of vision transformers
)
"""Modules of timm's classifiers behind the last feature map, or for pretraining, which an encoder lacks."""

_WHOLE_MODELS = ("vit.", "model.")
"""Beginnings of names in encoders that keep timm's model in one piece."""

_HUGGING_FACE_STAGES = {"patch_embeddings": "patch_embed", "block": "block", "layer_norm": "norm"}
_HUGGING_FACE_PARTS = {
    "layer_norm": "norm",
    "layer_norm_1": "norm1",
    "layer_norm_2": "norm2",
    "attention.self.query": "attn.q",
    "attention.self.key": "attn.k",
    "attention.self.value": "attn.v",
    "attention.self.sr": "attn.sr",
    "attention.self.layer_norm": "attn.norm",
    "attention.output.dense": "attn.proj",
    "mlp.dense1": "mlp.fc1",
    "mlp.dense2": "mlp.fc2",
}
_HUGGING_FACE_NAME = re.compile(
    rf"(?:segformer\.)?encoder\.({'|'.join(_HUGGING_FACE_STAGES)})\.(\d+)\.(?:(\d+)\.)?(?:(.+)\.)?(weight|bias)"
)


def translate(
    content: Any,
    *,
    network: Literal["student", "teacher"],
    encoder: Collection[str],
    path: str,
    published: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict,
) -> tuple[str, dict[str, Tensor]]:
    """Find a file's layout, and bring its entries to our network's names.

    Args:
        content: Content of the file.
        network: Which network to take where the file holds several.
        encoder: Names of the encoder's entries, without prefix.
        path: The file, for messages.
        published: What brings entries of an encoder by itself from the names of its authors to those of timm.

    Returns:
        The layout, see :class:`pgpc.models.weights.LoadReport`, and the entries by name: ``encoder.*``,
        ``decode_head.*``.

    Raises:
        ValueError: `content` is no state dict, its layout is unknown, or it has no such network.
    """
    run = isinstance(content, Mapping) and isinstance(content.get("student"), Mapping)
    entries = _state_dict(_network_of_run(content, network, path) if run else _unnested(content), path)
    entries = _unwrapped(entries, path)
    if any(".lora_" in key or key.endswith(DIGEST) for key in entries):
        raise ValueError(
            f"a weights file must have all weights of a network, but {path} has those alone that were trained "
            "(model.finetuning). Export the network with `pgpc export`, which merges and completes them, and name that "
            "file."
        )

    def has(prefix: str) -> bool:
        return any(key.startswith(prefix) for key in entries)

    if has("segmenter."):  # beside it lies the projection head, which only training needs
        entries = _below("segmenter.", entries)
    present = [name for name, prefix in _NETWORKS.items() if has(f"{prefix}backbone.")]
    if present:
        if network == "teacher" and "teacher" not in present:
            raise _no_network(network, path)
        chosen = network if network in present else present[0]
        return f"daformer {chosen}", _from_daformer(_below(_NETWORKS[chosen], entries))
    if has("backbone."):
        return "daformer", _from_daformer(entries)
    if has("segformer.encoder.") or has("encoder.patch_embeddings."):
        return "hugging face", _from_hugging_face(entries)
    if has("encoder.") or has("decode_head."):
        return f"pgpc {network}" if run else "pgpc", entries
    # timm joins the names of modules that it takes out of their parents by "_": stages.0 becomes stages_0.
    own = {_within(name).replace(".", "_"): name for name in encoder}
    own |= {name.replace(".", "_"): name for name in encoder}
    entries = dict(published(entries))
    if any(key.replace(".", "_") in own for key in entries):
        found = {own.get(key.replace(".", "_"), key): value for key, value in entries.items()}
        return "encoder", {
            f"encoder.{key}": value
            for key, value in found.items()
            if key in encoder or key.split(".")[0] not in _AFTER_ENCODER
        }
    raise ValueError(
        "a weights file must have names like 'encoder.*' (own layout), 'backbone.*' (DAFormer), 'segformer.encoder.*' "
        f"(Hugging Face), or those of the encoder itself, but {path} has {listed(list(entries)) or 'none'}. Rename "
        "its entries, or choose the model.encoder that the file belongs to."
    )


def _within(name: str) -> str:
    """Return the name that an entry of an encoder has in timm's model."""
    for prefix in _WHOLE_MODELS:
        name = name.removeprefix(prefix)
    return name


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Return the first names as text. A network has up to a thousand entries; a few tell what is wrong."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _unwrapped(entries: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """Return the entries by the names that they have without the wrappers of DDP and of ``torch.compile``."""
    keys = {key: ".".join(part for part in key.split(".") if part != "_orig_mod") for key in entries}
    while keys and all(name.startswith("module.") for name in keys.values()):
        keys = {key: name.removeprefix("module.") for key, name in keys.items()}
    if len(set(keys.values())) < len(keys):
        raise ValueError(
            f"a weights file must have each entry once, but {path} has some both with '_orig_mod.' in their names, "
            "from torch.compile, and without. Save the state dict of one network."
        )
    return {name: entries[key] for key, name in keys.items()}


def _network_of_run(content: Mapping[str, Any], network: str, path: str) -> Any:
    if not isinstance(content.get(network), Mapping):
        raise _no_network(network, path)
    return content[network]


def _unnested(content: Any) -> Any:
    """Return what a file holds below the names under which files keep their state dict, if it has these."""
    for name in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    return content


def _state_dict(content: Any, path: str) -> dict[str, Tensor]:
    def is_entry(key: Any, value: Any) -> bool:
        dense = isinstance(value, Tensor) and value.layout == torch.strided
        return isinstance(key, str) and dense and not value.is_meta and not value.is_quantized

    if not isinstance(content, Mapping) or not all(is_entry(key, value) for key, value in content.items()):
        raise ValueError(
            f"a weights file must hold a state dict, that is names to tensors with dense values, but {path} does not. "
            "Write one with torch.save(model.state_dict(), path)."
        )
    return dict(content)


def _no_network(network: str, path: str) -> ValueError:
    other = "teacher" if network == "student" else "student"
    return ValueError(f"network={network!r} must be in the file, but {path} has none. Ask for the {other}.")


def _below(prefix: str, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in entries.items() if key.startswith(prefix)}


def _from_daformer(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {re.sub(r"^backbone\.", "encoder.", key): value for key, value in entries.items()}


def _from_hugging_face(entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {_from_hugging_face_name(key): value for key, value in entries.items() if not key.startswith("classifier.")}
    for key in [key for key in named if ".attn.k." in key]:
        other = key.replace(".attn.k.", ".attn.v.")
        # A half without a fitting other one stays by itself, so that it is reported.
        if other in named and named[key].ndim > 0 and named[key].shape == named[other].shape:
            # Keys first: so they lie in the joint projection that they were cut from.
            named[key.replace(".attn.k.", ".attn.kv.")] = torch.cat([named.pop(key), named.pop(other)])
    return named


def _from_hugging_face_name(name: str) -> str:
    match = _HUGGING_FACE_NAME.fullmatch(name)
    if match is None:
        return name
    kind, stage, block, part, leaf = match.groups()
    parts = (f"{_HUGGING_FACE_STAGES[kind]}{int(stage) + 1}", block, _HUGGING_FACE_PARTS.get(part, part), leaf)
    return ".".join(["encoder", *(part for part in parts if part)])

"""A config file to start from, as ``pgpc init`` prints it: what matters for one's own data, and what it means."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from pgpc.config import Config, field_of, flatten, to_dict
from pgpc.recipes.files import COMMENT

_TOP = (
    "Train with it: pgpc train --config THIS_FILE --out runs/mine. Search around it: pgpc-sweep --config THIS_FILE, or "
    "in a checkout python sweeps/run_ablation.py --config THIS_FILE. Names that begin with // are comments. Other keys "
    "may be added: `pgpc show NAME` lists all, and `pgpc show --explain KEY` says what one means. With another "
    "training.iterations the lengths below should change, too; --set training.iterations=N changes them in proportion."
)
_KEYS = (
    *("data.source", "data.target", "data.eval_split", "data.source_size", "data.target_size", "data.crop"),
    *("data.rare_class_sampling", "data.rare_class_min_pixels", "data.rare_class_min_crop_ratio"),
    *("model.encoder", "model.pretrained", "model.num_classes", "model.detail_crop"),
    *("adaptation.ignore_top", "adaptation.ignore_bottom", "adaptation.mask_block"),
    *("contrast.enabled", "contrast.r", "contrast.start", "contrast.fill"),
    *("optimizer.lr", "optimizer.warmup"),
    *("training.iterations", "training.batch_size", "training.eval_interval", "training.log_interval"),
    *("evaluation.window", "evaluation.window_stride"),
)


def starter(config: Config, *, also: Collection[str] = (), remarks: Mapping[str, str] | None = None) -> str:
    """Return a config file in JSON, with a comment before each value.

    Args:
        config: The config, made from a preset, which the file names.
        also: Keys that are written beside the usual ones, those that the user has set.
        remarks: What is to be said of keys beside their meaning.
    """
    remarks = remarks or {}
    values, plain = flatten(config), to_dict(config)
    tree: dict[str, object] = {COMMENT: _TOP, "preset": config.name}
    for key in values:
        if key not in _KEYS and key not in also:
            continue
        info = field_of(key)
        group, _, name = key.rpartition(".")
        node: object = plain
        for part in key.split("."):
            node = node[part]  # type: ignore[index]  # plain data, whose keys are those of the config
        place = tree
        for part in group.split(".") if group else ():
            place = place.setdefault(part, {})  # type: ignore[assignment]  # groups are made here, and hold values
        unit = f" In {info.unit}." if info.unit else ""
        place[f"{COMMENT} {name}"] = " ".join(text for text in (remarks.get(key, ""), f"{info.doc}{unit}") if text)
        place[name] = node
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"

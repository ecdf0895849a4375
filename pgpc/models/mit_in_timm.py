"""Mix Transformers as models of timm, ``mit_b0`` .. ``mit_b5``, with all that timm makes of models.

Importing this module registers them. The children of the network are a plain chain, which timm's ``features_only`` cuts
at ``norm1`` .. ``norm4`` without renaming a parameter. There are no addresses of weights: those of ImageNet are under a
license of their own, and are not to be fetched unasked.
"""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from pgpc.models.mit import OUTLINES, OWN_STRIDES, MixTransformer


class MixTransformerClassifier(MixTransformer):
    """MiT as timm has classifiers; the arguments are those of :class:`MixTransformer`."""

    def __init__(self, *, num_classes: int = 1000, **others: Any) -> None:
        super().__init__(num_classes=num_classes, **others)
        self.num_classes = num_classes
        self.num_features = self.head_hidden_size = self.channels[-1]
        self.feature_info = [
            {"num_chs": channels, "reduction": stride, "module": f"norm{i + 1}"}
            for i, (channels, stride) in enumerate(zip(self.channels, OWN_STRIDES, strict=True))
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Compute features ``(B, C, ~H/32, ~W/32)`` of the last stage from images ``(B, in_chans, H, W)``."""
        return super().forward(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Compute class logits of the last stage's features.

        Args:
            x: Features ``(B, C, h, w)``.
            pre_logits: Whether to stop before the classifier.

        Returns:
            Class logits ``(B, num_classes)``, or the pooled features ``(B, C)``.
        """
        x = x.mean(dim=(2, 3))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # a classifier, where the other is an encoder
        """Compute class logits ``(B, num_classes)`` of images ``(B, in_chans, H, W)``, H and W at least 29."""
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer (part of timm's model interface)."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one (part of timm's model interface)."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes > 0 else nn.Identity()


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed1.proj",
        "classifier": "head",
        "fixed_input_size": False,
    }


default_cfgs = generate_default_cfgs({name: _cfg() for name in OUTLINES})


def _create(variant: str, pretrained: bool, **kwargs: Any) -> MixTransformerClassifier:
    embed_dims, depths = OUTLINES[variant]
    network: MixTransformerClassifier = build_model_with_cfg(
        MixTransformerClassifier,
        variant,
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3)},
        embed_dims=embed_dims,
        depths=depths,
        **kwargs,
    )
    return network


def _register(name: str) -> None:
    """Make one of the networks a model of timm, which registers functions under their names."""

    def make(pretrained: bool = False, **options: Any) -> MixTransformerClassifier:
        return _create(name, pretrained, **options)

    make.__name__ = name
    register_model(make)


for _name in OUTLINES:
    _register(_name)

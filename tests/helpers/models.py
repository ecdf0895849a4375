"""Models whose logits are known."""

import torch
from torch import nn

from pgpc.data.config import EvaluationConfig


class Paints(nn.Module):
    """A model whose logits are its input's channels, at stride 4."""

    def __init__(self, align_corners=False):
        super().__init__()
        self.align_corners = align_corners
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images[:, :, ::4, ::4]


class Identity(Paints):
    """Pointwise: logits are the channels at full size."""

    def forward(self, images):
        self.shapes = [*getattr(self, "shapes", []), tuple(images.shape)]
        return images


class Counts(Paints):
    """Two classes: the first has the mean of what the model is shown, the second a constant."""

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, images):
        mean = images.mean((1, 2, 3)).view(-1, 1, 1, 1).expand(-1, 1, *images.shape[2:])
        return torch.cat([mean, torch.full_like(mean, self.constant)], dim=1)


class Colors(nn.Module):
    """Finds the color that a pixel has most of, comparing it with its neighborhood on one side."""

    align_corners = False

    def __init__(self, strength=1.0, shift=0.0):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(strength))
        self.shift = shift

    def forward(self, images):
        small = nn.functional.avg_pool2d(images, 4)
        bias = torch.tensor([self.shift, 0.0, 0.0]).view(3, 1, 1)
        return self.strength * (small + 0.3 * small.roll(1, dims=3)) + bias


def windows(window, stride, batch=1):
    return EvaluationConfig(window=window, window_stride=stride, window_batch=batch)

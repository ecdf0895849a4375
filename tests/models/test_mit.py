from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pgpc.models.drop_path import DropPath
from pgpc.models.mit import Attention, PatchEmbed, build_mit


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.slow
def test_parameters_of_b5():
    with torch.device("meta"):
        encoder = build_mit("mit_b5")
    assert _count(encoder) == 81_443_008


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"),
    [("mit_b0", 3.32), ("mit_b1", 13.15), ("mit_b2", 24.20), ("mit_b3", 44.07), ("mit_b4", 60.84)],
)
def test_parameters_of_the_smaller_ones(name, millions):
    with torch.device("meta"):
        assert round(_count(build_mit(name)) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 96), [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ((65, 101), [(17, 26), (9, 13), (5, 7), (3, 4)]),
        ((33, 47), [(9, 12), (5, 6), (3, 3), (2, 2)]),
    ],
)
def test_feature_sizes_are_rounded_up(size, expected):
    encoder = build_mit("mit_b0").eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, *size))
    assert [tuple(f.shape[2:]) for f in features] == expected
    assert [f.shape[1] for f in features] == [32, 64, 160, 256]


def test_attention_equals_the_written_out_form():
    torch.manual_seed(0)
    layer = Attention(12, num_heads=3, reduction=2).double()
    x = torch.randn(2, 4, 6, 12, dtype=torch.float64)
    context = layer.norm(layer.sr(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
    assert context.shape == (2, 2 * 3, 12)
    out = []
    k_all, v_all = layer.kv(context).split(12, dim=-1)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        q, k, v = layer.q(x).flatten(1, 2)[..., part], k_all[..., part], v_all[..., part]
        out.append((q @ k.transpose(1, 2) / 2).softmax(-1) @ v)  # sqrt(4 channels per head) = 2
    torch.testing.assert_close(layer(x), layer.proj(torch.cat(out, -1)).view(2, 4, 6, 12))


@pytest.mark.parametrize(("stage", "size"), [(1, (17, 25)), (3, (5, 7)), (4, (3, 4))])
def test_blocks_of_b1_equal_the_written_out_form(stage, size):
    torch.manual_seed(0)
    block = getattr(build_mit("mit_b1"), f"block{stage}")[1].double()
    for p in block.parameters():
        torch.nn.init.normal_(p, std=0.2)
    (h, w), c = size, (64, 128, 320, 512)[stage - 1]
    heads, reduction = (1, 2, 5, 8)[stage - 1], (8, 4, 2, 1)[stage - 1]
    state = block.state_dict()

    def linear(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x, name, eps):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = torch.randn(2, h, w, c, dtype=torch.float64)
    y = norm(x, "norm1", 1e-6)
    tokens = y
    if reduction > 1:
        # Whole patches only: what is left over at the right and bottom is not read.
        rows, columns = h // reduction, w // reduction
        patches = y[:, : rows * reduction, : columns * reduction]
        patches = patches.reshape(2, rows, reduction, columns, reduction, c).permute(0, 1, 3, 5, 2, 4)
        weight = state["attn.sr.weight"].reshape(c, -1)
        tokens = patches.reshape(2, rows, columns, -1) @ weight.T + state["attn.sr.bias"]
        tokens = norm(tokens, "attn.norm", 1e-5)
    q = linear(y, "attn.q").reshape(2, h * w, heads, c // heads)
    k, v = linear(tokens, "attn.kv").reshape(2, -1, 2, heads, c // heads).unbind(2)
    scores = torch.einsum("bqnd,bknd->bnqk", q, k) / (c // heads) ** 0.5
    mixed = torch.einsum("bnqk,bknd->bqnd", scores.exp() / scores.exp().sum(-1, keepdim=True), v)
    x_attended = x + linear(mixed.reshape(2, h, w, c), "attn.proj")

    hidden = linear(norm(x_attended, "norm2", 1e-6), "mlp.fc1")
    padded = F.pad(hidden, (0, 0, 1, 1, 1, 1))
    kernel = state["mlp.dwconv.dwconv.weight"][:, 0]
    convolved = sum(padded[:, i : i + h, j : j + w] * kernel[:, i, j] for i in range(3) for j in range(3))
    convolved = convolved + state["mlp.dwconv.dwconv.bias"]
    activated = convolved * (1 + torch.erf(convolved / 2**0.5)) / 2
    torch.testing.assert_close(block(x), x_attended + linear(activated, "mlp.fc2"))


def test_drop_path_rises_linearly_over_all_blocks():
    model = build_mit("mit_b0", drop_path=0.7)
    blocks = [block for i in range(1, 5) for block in getattr(model, f"block{i}")]
    rates = [block.drop_path.rate if isinstance(block.drop_path, DropPath) else 0 for block in blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_norms_have_the_epsilons_of_the_released_models():
    model = build_mit("mit_b0")
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            inner = name.startswith("patch_embed") or name.endswith("attn.norm")
            assert module.eps == (1e-5 if inner else 1e-6), name


def test_initial_weights():
    torch.manual_seed(0)
    model = build_mit("mit_b0")
    assert model.block4[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    # Fan-out of a depthwise 3x3 convolution is 9, of the last patch embedding 9 * 256.
    assert model.block4[0].mlp.dwconv.dwconv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.03)
    assert model.patch_embed4.proj.weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith("bias"))


def test_patch_embedding_is_channels_last():
    assert PatchEmbed(3, 8, kernel=7, stride=4)(torch.zeros(2, 3, 30, 41)).shape == (2, 8, 11, 8)

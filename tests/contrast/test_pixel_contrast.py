"""The whole of the contrast on small inputs whose result is known."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.contrast import PixelContrast
from pgpc.contrast.config import ContrastConfig
from pgpc.contrast.sampling import draw_with_replacement
from tests.helpers.tensors import generator, unit_map

C, D = 6, 8
CONFIG = ContrastConfig(r=2, anchors=16, negatives=32, bank_size=64, quota=32, pool=256, dim=D)


def filled_contrast(config=CONFIG, *, logits=None, seed=0):
    """A memory after one step on random features; source labels hold classes 0..4 and ignored pixels."""
    contrast = PixelContrast(config, C)
    labels = torch.randint(0, 5, (2, 8, 8), generator=generator(seed))
    labels[:, 0] = IGNORE_INDEX
    contrast.enqueue_source(unit_map(2, D, 8, 8), labels, generator(1))
    logits = torch.randn(2, C, 8, 8, generator=generator(2)) if logits is None else logits
    usable = torch.ones(2, 8, 8, dtype=torch.bool)
    contrast.enqueue_target(unit_map(2, D, 8, 8, seed=3), logits, logits.argmax(1), usable, usable, generator(4))
    return contrast


def rows_of(features, mask):
    return {tuple(row) for row in features.permute(0, 2, 3, 1)[mask].tolist()}


def test_memory_holds_source_pixels_of_the_class_and_no_ignored_ones():
    features, labels = unit_map(1, D, 6, 6), torch.randint(0, C, (1, 6, 6), generator=generator())
    labels[0, :2] = IGNORE_INDEX
    contrast = PixelContrast(CONFIG, C)
    contrast.enqueue_source(features, labels, generator())
    for c in range(C):
        held = {tuple(row) for row in contrast.source.rows[c, : contrast.source.filled[c]].tolist()}
        assert held == rows_of(features, labels == c)


def test_target_negatives_of_a_class_are_all_usable_pixels_that_rank_it_at_r_or_lower():
    config = dataclasses.replace(CONFIG, quota=64)
    features, logits = unit_map(1, D, 6, 6), torch.randn(1, C, 6, 6, generator=generator(5))
    usable = torch.ones(1, 6, 6, dtype=torch.bool)
    usable[:, :2] = False
    contrast = PixelContrast(config, C)
    nothing_reliable = torch.zeros_like(usable)  # Eq. 11 has no entropy term
    contrast.enqueue_target(features, logits, logits.argmax(1), usable, nothing_reliable, generator())
    rank = (logits[:, None] > logits[:, :, None]).sum(2)
    for c in range(C):
        held = {tuple(row) for row in contrast.target_negatives.rows[c, : contrast.target_negatives.filled[c]].tolist()}
        assert held == rows_of(features, (rank[:, c] >= 2) & usable)


def test_the_negatives_of_a_class_are_half_source_pixels_of_others_half_target_pixels():
    contrast = filled_contrast()
    pool, has = contrast._negatives(generator())
    assert has.all()
    for c in range(C):
        others = torch.cat([contrast.source.rows[k, : contrast.source.filled[k]] for k in range(C) if k != c])
        target = contrast.target_negatives.rows[c, : contrast.target_negatives.filled[c]]
        others, target = ({tuple(r) for r in rows.tolist()} for rows in (others, target))
        assert all(tuple(r) in others for r in pool[c, :128].tolist())
        assert all(tuple(r) in target for r in pool[c, 128:].tolist())


@pytest.mark.parametrize("side", ["source", "target"])
def test_one_side_gives_all_negatives_where_the_other_is_off(side):
    contrast = filled_contrast(dataclasses.replace(CONFIG, negative=(side,)))
    pool, has = contrast._negatives(generator())
    assert has.all()
    source, target = (rows_of(unit_map(2, D, 8, 8, seed=s), torch.ones(2, 8, 8, dtype=torch.bool)) for s in (0, 3))
    assert {tuple(r) for r in pool[0].tolist()} <= (source if side == "source" else target)


def test_the_prototype_is_the_mean_of_the_source_memory_and_pulls_the_anchors():
    """Descending the loss moves the anchors of a class towards the prototype of that class, and of no other."""
    contrast = filled_contrast(dataclasses.replace(CONFIG, weight=1.0))
    free = torch.randn(1, D, 8, 8, generator=generator(7)).requires_grad_()
    labels = torch.full((1, 8, 8), 3)
    every = torch.ones(1, 8, 8, dtype=torch.bool)
    optimizer = torch.optim.SGD([free], lr=20.0)
    prototype = F.normalize(contrast.source.prototypes(), dim=1)
    before = (F.normalize(free, dim=1) * prototype[3].view(1, D, 1, 1)).sum(1).mean().item()
    for i in range(50):
        optimizer.zero_grad()
        contrast.loss(F.normalize(free, dim=1), labels, every, generator(i))[0].backward()
        optimizer.step()
    after = (F.normalize(free, dim=1) * prototype[3].view(1, D, 1, 1)).sum(1).mean().item()
    assert after > before + 0.3


def test_loss_equals_a_loop_over_classes_and_anchors():
    """The same draws, then Eq. 5 as it is written: cosine similarities, cross-entropy with the positive in front."""
    config = dataclasses.replace(CONFIG, anchors=5, negatives=7, temperature=0.2)
    contrast = filled_contrast(config)
    features = unit_map(2, D, 8, 8, seed=9)
    labels = torch.randint(0, C, (2, 8, 8), generator=generator(8))
    sure = torch.rand(2, 8, 8, generator=generator(10)) < 0.5
    loss, _ = contrast.loss(features, labels, sure, generator(11))

    draws = generator(11)
    candidates = torch.stack([(labels == c) & sure for c in range(C)]).flatten(1)
    anchor = draw_with_replacement(candidates, 5, draws)
    pool, _ = contrast._negatives(draws)
    index = torch.randint(config.pool, (C, 5, 7), generator=draws)
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)
    per_class = []
    for c in range(C - 1):  # the last class has no source prototype
        prototype = contrast.source.rows[c, : contrast.source.filled[c]].mean(0)
        terms = []
        for m in range(5):
            others = torch.cat([prototype[None], pool[c, index[c, m]]])
            cosines = F.cosine_similarity(rows[anchor.pixel[c, m]][None], others)
            terms.append(F.cross_entropy(cosines / 0.2, torch.tensor(0)))
        per_class.append(torch.stack(terms).mean())
    torch.testing.assert_close(loss, torch.stack(per_class).mean())


def test_a_class_without_negatives_does_not_count():
    """One class only in the source, nothing of the target: there is a prototype, but nothing to be far from."""
    contrast = PixelContrast(CONFIG, C)
    features, labels = unit_map(1, D, 8, 8), torch.full((1, 8, 8), 3)
    contrast.enqueue_source(features, labels, generator())
    loss, anchors = contrast.loss(features, labels, labels == 3, generator())
    assert anchors[3] == 64
    assert loss.item() == 0.0


def test_only_reliable_pixels_of_valid_classes_get_a_gradient():
    contrast = filled_contrast()
    features = unit_map(2, D, 8, 8, seed=9).requires_grad_()
    labels = torch.randint(0, C, (2, 8, 8), generator=generator(8))  # class 5 has no source prototype
    sure = torch.zeros(2, 8, 8, dtype=torch.bool)
    sure[0, :4] = True
    loss, anchors = contrast.loss(features, labels, sure, generator())
    loss.backward()
    touched = features.grad.abs().sum(1) > 0
    assert loss > 0
    assert not touched[~sure].any()
    assert not touched[labels == 5].any()
    assert touched.any()
    assert anchors.tolist() == [int((sure & (labels == c)).sum()) for c in range(C)]


def test_the_mean_runs_over_valid_classes_only():
    """Classes with anchors all alike: the loss does not shrink because other classes are absent."""
    contrast = filled_contrast()
    features = unit_map(1, D, 8, 8, seed=9)
    every = torch.ones(1, 8, 8, dtype=torch.bool)
    halves = torch.where(torch.arange(8)[:, None] < 4, 1, 2).expand(1, 8, 8)
    one, other, both = (
        contrast.loss(features, label, mask, generator())[0]
        for label, mask in ((halves, halves == 1), (halves, halves == 2), (halves, every))
    )
    assert both.item() == pytest.approx((one.item() + other.item()) / 2, rel=1e-5)


def test_on_request_the_mean_runs_over_all_classes():
    features, labels = unit_map(1, D, 8, 8, seed=9), torch.ones(1, 8, 8, dtype=torch.long)
    valid, every = (
        filled_contrast(dataclasses.replace(CONFIG, average=average)).loss(features, labels, labels == 1, generator())
        for average in ("valid", "all")
    )
    assert every[0].item() == pytest.approx(valid[0].item() / C, rel=1e-6)  # one of C classes has anchors
    assert valid[0] > 0


def test_nothing_to_contrast_is_exactly_zero_with_a_graph():
    empty = PixelContrast(CONFIG, C)
    features = unit_map(1, D, 8, 8).requires_grad_()
    labels, every = torch.zeros(1, 8, 8, dtype=torch.long), torch.ones(1, 8, 8, dtype=torch.bool)
    for contrast, reliable in ((empty, every), (filled_contrast(), ~every)):
        loss, _ = contrast.loss(features, labels, reliable, generator())
        (gradient,) = torch.autograd.grad(loss, features)
        assert loss.item() == 0.0
        assert not gradient.any()


def test_target_prototypes_come_from_reliable_target_pixels():
    config = dataclasses.replace(CONFIG, positive="target_prototype", quota=64)
    contrast = PixelContrast(config, C)
    features, labels = unit_map(1, D, 6, 6), torch.randint(0, C, (1, 6, 6), generator=generator())
    usable, sure = torch.ones(1, 6, 6, dtype=torch.bool), torch.rand(1, 6, 6, generator=generator()) < 0.5
    logits = F.one_hot(labels, C).permute(0, 3, 1, 2).float()
    contrast.enqueue_target(features, logits, labels, usable, sure, generator())
    for c in range(C):
        held = {tuple(row) for row in contrast.target.rows[c, : contrast.target.filled[c]].tolist()}
        assert held == rows_of(features, (labels == c) & sure)


def test_projecting_only_the_pixels_that_are_drawn_changes_nothing():
    def project(x):
        return F.normalize(F.linear(x, weight), dim=-1)

    weight = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    results = []
    for sampled in (False, True):
        g, draws = (torch.Generator().manual_seed(s) for s in (1, 2))
        config = ContrastConfig(r=1, anchors=8, negatives=8, bank_size=20, quota=9, pool=12, dim=6)
        contrast, weight.grad = PixelContrast(config, 4), None
        source, target, student = (torch.randn(2, 3, 5, 7, generator=g) for _ in range(3))
        labels, logits = torch.randint(0, 4, (2, 5, 7), generator=g), torch.randn(2, 4, 5, 7, generator=g)
        maps = (source, target, student)
        if not sampled:
            maps = [project(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for x in maps]
        last = (draws, project) if sampled else (draws,)
        everywhere = torch.ones_like(labels, dtype=torch.bool)
        contrast.enqueue_source(maps[0], labels, *last)
        contrast.enqueue_target(maps[1], logits, labels, everywhere, everywhere, *last)
        loss, _ = contrast.loss(maps[2], labels, everywhere, *last)
        loss.backward()
        results.append((loss.detach(), weight.grad.clone(), *contrast.state_dict().values()))
    for dense, drawn in zip(*results, strict=True):
        torch.testing.assert_close(drawn, dense)
    assert results[0][1].abs().sum() > 0


@pytest.mark.parametrize("negatives_per", ["anchor", "class"])
def test_double_precision_is_kept(negatives_per):
    """The loss is that of float32 but for rounding, and its gradient is exact to far more digits."""
    config = dataclasses.replace(CONFIG, negatives_per=negatives_per)
    labels = torch.randint(0, C, (2, 8, 8), generator=generator(8))
    everywhere = torch.ones(2, 8, 8, dtype=torch.bool)
    losses = {}
    for dtype in (torch.float32, torch.float64):
        contrast = filled_contrast(config).to(dtype)
        features = unit_map(2, D, 8, 8, seed=9).to(dtype).requires_grad_()
        losses[dtype], _ = contrast.loss(features, labels, everywhere, generator(11))
        losses[dtype].backward()
        assert losses[dtype].dtype == features.grad.dtype == dtype
        moved = (features + 1e-6 * features.grad).detach()
        change = (contrast.loss(moved, labels, everywhere, generator(11))[0] - losses[dtype]).item()
        expected = 1e-6 * features.grad.double().square().sum().item()
        assert dtype == torch.float32 or change == pytest.approx(expected, rel=1e-4)
    assert losses[torch.float64].item() == pytest.approx(losses[torch.float32].item(), rel=1e-5)
    assert losses[torch.float64] != losses[torch.float32]


def test_source_negatives_by_pixel_follow_how_often_training_shows_a_class():
    """One step shows 60 pixels of class 0 and 4 of class 1; the quota leaves 32 and 4 rows of them."""
    config = dataclasses.replace(CONFIG, source_negatives="pixel", negative=("source",), pool=4000)
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[0, 0, :4], labels[0, 7] = 1, IGNORE_INDEX
    contrast = PixelContrast(config, C)
    for seed in range(2):
        contrast.enqueue_source(unit_map(1, D, 8, 8, seed=seed), labels, generator(seed))
    assert contrast.source_pixels.tolist() == [104, 8, 0, 0, 0, 0]
    assert contrast.source.filled.tolist() == [64, 8, 0, 0, 0, 0]
    rows, has = contrast._negatives(generator())
    assert has.tolist() == [True] * 6  # the other of the two, or both
    of_one = (rows[2][:, None] == contrast.source.rows[1, :8][None]).all(2).any(1).float().mean()
    assert of_one.item() == pytest.approx(8 / 112, rel=0.15)  # by rows it would be 8 / 72
    again = PixelContrast(config, C)
    again.load_state_dict(contrast.state_dict())
    assert torch.equal(again._negatives(generator())[0], rows)


def test_by_default_no_frequencies_are_kept_and_checkpoints_are_those_of_before():
    assert not any("source_pixels" in name for name in filled_contrast().state_dict())


def test_a_cleared_memory_has_nothing_to_contrast_but_knows_the_frequencies():
    contrast = filled_contrast(dataclasses.replace(CONFIG, source_negatives="pixel"))
    before = contrast.source_pixels.clone()
    contrast.clear()
    assert before.sum() == 2 * 56 and torch.equal(contrast.source_pixels, before)
    labels = torch.ones(1, 8, 8, dtype=torch.long)
    loss, _ = contrast.loss(unit_map(1, D, 8, 8), labels, labels == 1, generator())
    assert loss.item() == 0.0

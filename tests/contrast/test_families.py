"""All families of contrast (Fig. 1) on edge cases, against Eq. 5 written as a loop over anchors."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

from pgpc.classes import IGNORE_INDEX
from pgpc.contrast import PixelContrast, reliable
from pgpc.contrast.config import ContrastConfig
from pgpc.contrast.sampling import draw_other_classes, draw_own_class, draw_with_replacement
from tests.helpers.tensors import generator

C, D, H, M, N, POOL, SIZE = 5, 6, 8, 4, 5, 30, 24
BASE = ContrastConfig(r=2, anchors=M, negatives=N, bank_size=SIZE, quota=16, pool=POOL, dim=D, temperature=0.3, eta=0.5)
FAMILIES = {
    "hybrid": {"family": "hybrid"},
    "hybrid, target prototypes": {"family": "hybrid", "positive": "target_prototype", "negative": ("source",)},
    "hybrid, target negatives": {"family": "hybrid", "negative": ("target",)},
    "hybrid, negatives shared": {"family": "hybrid", "negatives_per": "class"},
    "pixels": {"family": "pixel_to_pixel"},
    "pixels, negatives shared": {"family": "pixel_to_pixel", "negatives_per": "class"},
    "pixels, of the target": {"family": "pixel_to_pixel", "positive": "target_prototype", "negative": ("target",)},
    "prototypes": {"family": "pixel_to_prototype"},
    "prototypes, of the target": {"family": "pixel_to_prototype", "positive": "target_prototype"},
}


def features(seed, dtype=torch.float32):
    return F.normalize(torch.randn(2, D, H, H, generator=generator(seed)), dim=1).to(dtype)


def make(family, **changes):
    return PixelContrast(dataclasses.replace(BASE, **FAMILIES[family], **changes), C)


def inputs(seed=0):
    """Source labels, the teacher's logits, and which target pixels are usable."""
    labels = torch.randint(0, C, (2, H, H), generator=generator(seed))
    # Every pixel's logits are 0..C-1 in some order: the same in half precision.
    logits = torch.rand(2, C, H, H, generator=generator(seed + 1)).argsort(1).argsort(1).float()
    return labels, logits, torch.ones(2, H, H, dtype=torch.bool)


def run(contrast, labels, logits, usable, sure=None, pseudo=None, *, dtype=torch.float32, steps=2):
    """Some steps of remembering, then a loss: it, its gradient, the anchors, the same by a loop, and the leaf."""
    pseudo = logits.argmax(1) if pseudo is None else pseudo
    sure = torch.rand(2, H, H, generator=generator(20)) < 0.5 if sure is None else sure
    for i in range(steps):
        draws = generator(i)
        contrast.enqueue_source(features(2 * i, dtype), labels, draws)
        contrast.enqueue_target(features(2 * i + 1, dtype), logits.to(dtype), pseudo, usable, sure & usable, draws)
    free = features(50, dtype).requires_grad_()
    loss, anchors = contrast.loss(F.normalize(free, dim=1), pseudo, sure & usable, generator(60))
    expected = by_loop(contrast, F.normalize(free, dim=1), pseudo, sure & usable, generator(60))
    (gradient,) = torch.autograd.grad(loss, free)  # fails where the loss is not connected
    return loss.detach(), gradient, anchors, expected, free


def by_loop(contrast, features, labels, sure, draws):
    """Eq. 5, class by class and anchor by anchor, on the draws that the loss is documented to make, in their order."""
    config = contrast.config
    memory = contrast.target if config.positive == "target_prototype" else contrast.source
    held = [memory.rows[c, : memory.filled[c]] for c in range(C)]
    candidates = torch.stack([(labels == c) & sure for c in range(C)]).flatten(1)
    pixel = draw_with_replacement(candidates, M, draws).pixel
    if config.family == "pixel_to_pixel":
        positive = draw_own_class(memory.filled, SIZE, M, draws)
    if config.family != "pixel_to_prototype":
        drawn, num = {}, N if config.negatives_per == "class" else POOL
        if "source" in config.negative:
            drawn["source"] = draw_other_classes(contrast.source.filled, SIZE, num, draws)
        if "target" in config.negative:
            drawn["target"] = draw_own_class(contrast.target_negatives.filled, SIZE, num, draws)
        index = torch.arange(N).expand(C, M, N) if num == N else torch.randint(POOL, (C, M, N), generator=draws)
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)
    classes = []
    for c in range(C):
        if not candidates[c].any() or not len(held[c]):
            continue
        if config.family == "pixel_to_prototype":
            pool = [held[k].mean(0) for k in range(C) if k != c and len(held[k])]
        else:
            source = target = []
            if "source" in drawn and contrast.source.filled.sum() > contrast.source.filled[c]:
                source = [contrast.source.rows.flatten(0, 1)[i] for i in drawn["source"][c]]
            if "target" in drawn and contrast.target_negatives.filled[c] > 0:
                target = [contrast.target_negatives.rows.flatten(0, 1)[i] for i in drawn["target"][c]]
            pool = source[: num // 2] + target[num // 2 :] if source and target else source or target
        if not pool:
            continue
        terms = []
        for m in range(M):
            of_pixels = config.family == "pixel_to_pixel"
            plus = held[c][positive[c, m] - c * SIZE] if of_pixels else held[c].mean(0)
            minus = pool if config.family == "pixel_to_prototype" else [pool[n] for n in index[c, m]]
            cosines = F.cosine_similarity(rows[pixel[c, m]][None], torch.stack([plus, *minus]))
            terms.append(F.cross_entropy(cosines / config.temperature, torch.tensor(0)))
        classes.append(torch.stack(terms).mean())
    return torch.stack(classes).mean() if classes else features.sum() * 0.0


def classes_absent(labels, logits):
    """The source shows 0 to 2, the target 1 and 4."""
    return {"labels": labels % 3, "logits": logits, "pseudo": torch.where(labels > 2, 4, 1)}


def one_each(labels, logits):
    """One labeled pixel per class in the source, one reliable pixel per class in the target."""
    first = torch.full((2, H, H), IGNORE_INDEX)
    first[0, 0, :C] = torch.arange(C)
    return {"labels": first, "logits": logits, "pseudo": first.flip(2), "sure": first.flip(2) < C}


NONE = torch.zeros(2, H, H, dtype=torch.bool)
CASES = {
    "usual": lambda labels, logits: {"labels": labels, "logits": logits},
    "classes absent": classes_absent,
    "fewer candidates than M and N": one_each,
    "all logits equal": lambda labels, logits: {"labels": labels, "logits": 0 * logits, "pseudo": labels},
    "one class": lambda labels, logits: {"labels": 0 * labels + 3, "logits": logits, "pseudo": 0 * labels + 3},
    "all labels ignored": lambda labels, logits: {
        "labels": 0 * labels + IGNORE_INDEX,
        "logits": logits,
        "pseudo": 0 * labels + IGNORE_INDEX,
    },
    "source labels ignored": lambda labels, logits: {"labels": 0 * labels + IGNORE_INDEX, "logits": logits},
    "no pixel reliable": lambda labels, logits: {"labels": labels, "logits": logits, "sure": NONE},
    "no target pixel usable": lambda labels, logits: {"labels": labels, "logits": logits, "usable": NONE},
    "nothing remembered": lambda labels, logits: {"labels": labels, "logits": logits, "steps": 0},
}
ZERO = {"all labels ignored", "no pixel reliable", "no target pixel usable", "nothing remembered"}
"""Nothing to contrast, whichever the family."""


@pytest.mark.parametrize("r", [2, C - 1])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_value_and_gradient_equal_a_loop_over_anchors(family, case, r):
    labels, logits, usable = inputs()
    contrast = make(family, r=r)
    loss, gradient, anchors, expected, free = run(contrast, **{"usable": usable, **CASES[case](labels, logits)})
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, free)[0], atol=1e-6, rtol=1e-4)
    zero = case in ZERO or not contrasted(family, case)
    assert (loss == 0) == zero
    assert (not gradient.any()) == zero
    if case == "usual":
        assert (anchors > M).all()


def contrasted(family, case):
    """Whether some class has both a positive and negatives, in cases that are empty for some families only."""
    sources_positive = "target_prototype" not in FAMILIES[family].values()
    if case == "source labels ignored":  # no source memory: only the target can give positives and negatives
        return not sources_positive and FAMILIES[family].get("negative") != ("source",)
    if case == "one class":  # no pixel and no prototype of another class but target pixels
        return "prototypes" not in family
    return True


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_close_to_float32(family, dtype, tolerance):
    low, gradient, *_ = run(make(family), *inputs(), dtype=dtype)
    full, exact, *_ = run(make(family), *inputs())
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(full.item(), abs=tolerance)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()
    assert (gradient.float() - exact).norm() < 10 * tolerance * exact.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("per", ["image", "batch", "class"])
@pytest.mark.parametrize("by", ["entropy", "confidence"])
def test_reliable_pixels_of_half_precision_logits_are_those_of_the_same_numbers(by, per, dtype):
    logits = torch.randn(2, C, H, H, generator=generator(0)).to(dtype)
    assert torch.equal(reliable(logits, 0.4, by=by, per=per), reliable(logits.float(), 0.4, by=by, per=per))


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("family", FAMILIES)
def test_no_gradient_is_nan_on_the_way(family):
    with torch.autograd.detect_anomaly(check_nan=True):
        for case in CASES.values():
            labels, logits, usable = inputs()
            run(make(family), **{"usable": usable, **case(labels, logits)})


@pytest.mark.parametrize(
    ("changes", "banks"),
    [
        ({}, {"source", "target_negatives"}),
        ({"negative": ("source",)}, {"source"}),
        ({"negative": ("target",)}, {"source", "target_negatives"}),
        ({"positive": "target_prototype"}, {"source", "target_negatives", "target"}),
        ({"positive": "target_prototype", "negative": ("source",)}, {"source", "target"}),
        ({"positive": "target_prototype", "negative": ("target",)}, {"target_negatives", "target"}),
        ({"family": "pixel_to_prototype"}, {"source"}),
        ({"family": "pixel_to_prototype", "positive": "target_prototype"}, {"target"}),
    ],
)
def test_no_memory_is_held_that_is_never_read(changes, banks):
    contrast = PixelContrast(dataclasses.replace(BASE, **changes), C)
    assert {key.split(".")[0] for key in contrast.state_dict()} == banks
    assert {name for name in ("source", "target_negatives", "target") if getattr(contrast, name) is not None} == banks


def plane(family, rows, **changes):
    """A memory of three classes in the plane, with the given source rows per class; anchors (1, 0) of class 0."""
    config = ContrastConfig(
        family=family,
        r=1,
        negative=("source",),
        dim=2,
        bank_size=4,
        quota=4,
        pool=32,
        temperature=0.5,
        **{"anchors": 64, "negatives": 3, **changes},
    )
    contrast = PixelContrast(config, 3)
    count = torch.tensor([len(r) for r in rows])
    padded = torch.tensor([r + [[9.0, 9.0]] * (4 - len(r)) for r in rows])
    contrast.source.enqueue(padded, count)
    image = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
    zeros = torch.zeros(1, 4, 4, dtype=torch.long)
    return contrast.loss(image, zeros, zeros == 0, generator(0))[0].item()


def summand(positive, negatives):
    """One summand of Eq. 5, from cosines, at tau 0.5."""
    return -math.log(math.exp(2 * positive) / (math.exp(2 * positive) + sum(math.exp(2 * n) for n in negatives)))


DIAGONAL = [[1.0, 0.0], [0.0, 1.0]]
"""Two unit rows whose mean, normalized, has the cosine sqrt(1/2) with an anchor (1, 0); not normalized, 1/2."""


def test_hybrid_by_hand():
    loss = plane("hybrid", [DIAGONAL, [[-1.0, 0.0]], []])
    assert loss == pytest.approx(summand(math.sqrt(0.5), [-1, -1, -1]), abs=1e-6)


def test_pixel_to_pixel_by_hand():
    """Each of the 64 anchors has one of the two rows as positive, about half of them either."""
    loss = plane("pixel_to_pixel", [DIAGONAL, [[-1.0, 0.0]], []])
    near, far = summand(1, [-1, -1, -1]), summand(0, [-1, -1, -1])
    of_near = 64 * (loss - far) / (near - far)
    assert of_near == pytest.approx(round(of_near), abs=1e-3)
    assert 16 < of_near < 48


def test_pixel_to_prototype_by_hand():
    """Negatives are one mean per other class that has any, however many rows it has, and whatever N is."""
    loss = plane("pixel_to_prototype", [DIAGONAL, [[-1.0, 0.0]] * 3, []], negatives=100)
    assert loss == pytest.approx(summand(math.sqrt(0.5), [-1]), abs=1e-6)
    loss = plane("pixel_to_prototype", [DIAGONAL, [[-1.0, 0.0]] * 3, [[0.0, 1.0], [-1.0, 0.0]]])
    assert loss == pytest.approx(summand(math.sqrt(0.5), [-1, -math.sqrt(0.5)]), abs=1e-6)


def test_pixel_to_prototype_of_one_class_alone_is_zero():
    assert plane("pixel_to_prototype", [DIAGONAL, [], []]) == 0.0


def test_positives_of_pixel_to_pixel_are_uniform_over_the_rows_of_the_class():
    """Four rows at cosines 1, 1/2, 0, -1: over many anchors the loss is the mean over the four."""
    half = math.sqrt(0.75)
    rows = [[1.0, 0.0], [0.5, half], [0.0, 1.0], [-1.0, 0.0]]
    loss = plane("pixel_to_pixel", [rows, [[-1.0, 0.0]], []], anchors=40_000)
    assert loss == pytest.approx(sum(summand(p, [-1] * 3) for p in (1, 0.5, 0, -1)) / 4, rel=0.02)

"""Every criterion as plainly as it can be written, in numpy and double precision, from logits ``(C, h, w)``."""

from __future__ import annotations

import itertools
import math

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Pixels by classes: ``(C, h, w)`` to ``(h * w, C)``."""
    scores = np.asarray(logits, dtype=np.float64).reshape(len(logits), -1).T
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def entropy_of(p: np.ndarray) -> float:
    return -sum(q * math.log(q) for q in p if q > 0)


def entropy(images: list[np.ndarray]) -> float:
    p = np.concatenate([softmax(logits) for logits in images])
    return -float(np.mean([entropy_of(pixel) for pixel in p])) / math.log(p.shape[1])


def infomax(images: list[np.ndarray]) -> float:
    p = np.concatenate([softmax(logits) for logits in images])
    return entropy_of(p.mean(axis=0)) / math.log(p.shape[1]) + entropy(images)


def corrc(images: list[np.ndarray]) -> float:
    p = np.concatenate([softmax(logits) for logits in images])
    products = p.T @ p
    return -float(np.trace(products) / np.linalg.norm(products))


def snd(samples: list[np.ndarray]) -> float:
    """Of the probabilities ``(n, C)`` of the sampled pixels of each image."""
    entropies = []
    for p in samples:
        unit = p / np.linalg.norm(p, axis=1, keepdims=True)
        for i in range(len(p)):
            e = np.exp([unit[i] @ unit[j] / 0.05 for j in range(len(p)) if j != i])
            entropies.append(entropy_of(e / e.sum()))
    return float(np.mean(entropies))


def bnm(samples: list[np.ndarray]) -> float:
    """Of the probabilities ``(n, C)`` of the sampled pixels of each image."""
    p = np.concatenate(samples)
    return float(np.linalg.norm(p, "nuc") / math.sqrt(len(p) * min(p.shape)))


def agreement(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """mIoU in percent of the first train ids of each pair against the second."""
    one, other = (np.concatenate([ids.ravel() for ids in side]) for side in zip(*pairs, strict=True))
    iou = [
        np.sum((one == c) & (other == c)) / np.sum((one == c) | (other == c))
        for c in set(one.tolist()) | set(other.tolist())
    ]
    return 100 * float(np.mean(iou))


def mixval(triples: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Of the train ids of first, second and mixed images."""
    hits = {True: [], False: []}
    for first, second, mixed in triples:
        for a, b, m in zip(first.ravel(), second.ravel(), mixed.ravel(), strict=True):
            hits[bool(a == b)].append(m == a)
    return float(np.mean([np.mean(found) if found else 0.0 for found in hits.values()]))


def in_pairs(things: list) -> list[tuple]:
    """The 1st and 2nd, the 3rd and 4th, and so on; an odd last one is left out."""
    return list(itertools.zip_longest(things[::2], things[1::2]))[: len(things) // 2]

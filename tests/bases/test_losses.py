"""Which pixels of labels belong to the cells of a map."""

import pytest
import torch

from pgpc.bases.losses import at_cells_of, at_stride_of


def coordinates(h, w):
    """Rows and columns of the pixels of an image, ``(1, 2, h, w)``."""
    return torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))[None]


def map_of(*cells):
    return torch.zeros(1, 8, *cells)


@pytest.mark.parametrize(("size", "stride"), [((64, 96), 4), ((70, 45), 4), ((72, 40), 8), ((64, 96), 32)])
def test_the_first_pixel_stands_for_a_cell_at_a_stride_of_an_encoder(size, stride):
    cells = tuple(-(-extent // stride) for extent in size)
    taken = at_stride_of(map_of(*cells), coordinates(*size))
    assert taken[0, 0, :, 0].tolist() == list(range(0, size[0], stride))
    assert taken[0, 1, 0].tolist() == list(range(0, size[1], stride))
    if stride <= 8:
        assert torch.equal(at_cells_of(map_of(*cells), coordinates(*size), size[1]), taken)


@pytest.mark.parametrize("size", [(512, 1024), (518, 1036), (75, 61), (33, 47), (36, 100)])
@pytest.mark.parametrize("patch", [14, 16])
def test_pixels_of_labels_lie_in_the_middle_of_patches(size, patch):
    """Also where a patch of 14 is 13.8 pixels of the image: nowhere more than a pixel from the middle of its cell."""
    cells = tuple(-(-extent // patch) for extent in size)
    for take in (lambda map_, x: at_cells_of(map_, x, size[1]), at_stride_of):
        if take is at_stride_of and patch == 16:
            continue  # of a stride of an encoder the first pixel
        taken = take(map_of(*cells), coordinates(*size)) + 0.5
        for axis, line in ((0, taken[0, 0, :, 0]), (1, taken[0, 1, 0])):
            middle = (torch.arange(cells[axis]) + 0.5) * size[axis] / cells[axis]
            assert (line - middle).abs().max() <= 1


def test_logits_and_labels_of_a_cell_are_of_the_same_place():
    """Logits are at stride 4, labels at 1: what the teacher says of a token comes from one place in both."""
    hidden, width = map_of(4, 6), 96
    labels = at_cells_of(hidden, coordinates(64, 96), width)
    logits = at_cells_of(hidden, coordinates(16, 24), width)
    assert torch.equal(logits, labels // 4)

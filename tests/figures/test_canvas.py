import numpy as np
import pytest

from pgpc.classes import CITYSCAPES
from pgpc.figures.canvas import check_picture_file, save
from pgpc.figures.comparison import Compared, comparison_figure


def image(seed, *, height=16, label=True):
    rng = np.random.default_rng(seed)
    draw = lambda: rng.integers(0, 5, (height, 32)).astype(np.uint8)  # noqa: E731
    return Compared(rng.integers(0, 256, (height, 32, 3), dtype=np.uint8), [draw(), draw()], draw() if label else None)


def boxes(figure):
    figure.canvas.draw()  # which gives the legend its place
    texts = [text for axes in figure.axes for text in axes.texts] + figure.legends[0].get_texts()
    return [axes.bbox for axes in figure.axes] + [text.get_window_extent() for text in texts]


@pytest.mark.parametrize("name", ["a", "a-long-name-of-a-run-of-a-sweep, with all its parameters", "Ärger, ß"])
def test_nothing_overlaps_or_leaves_the_figure(name):
    figure = comparison_figure([image(i) for i in range(2)], [f"{name} 1", f"{name} 2"], CITYSCAPES)
    items, page = boxes(figure), figure.bbox
    for i, box in enumerate(items):
        assert box.x0 >= -0.5 and box.y0 >= -0.5 and box.x1 <= page.x1 + 0.5 and box.y1 <= page.y1 + 0.5
        for other in items[:i]:
            overlap = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(overlap) < 1, "they share more than a pixel"
    assert {text.get_text()[-1] for axes in figure.axes[1:3] for text in axes.texts} == {"1", "2"}


@pytest.mark.parametrize("suffix", ["png", "PDF", "svg", "jpg", "tiff"])
def test_figures_are_written_whole(suffix, tmp_path):
    path = tmp_path / "a folder" / f"größe 1.{suffix}"
    check_picture_file(path)
    save(comparison_figure([image(0)], ["a", "b"], CITYSCAPES), path)
    assert path.stat().st_size > 1000
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["picture", "picture.docx", "picture.pgf", "picture.raw", "."])
def test_other_files_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="--out must"):
        check_picture_file(tmp_path / name)

"""The results of a sweep in pandas: read, averaged over seeds, plotted.

    python docs/examples/results.py results/NAME scores.png

It works while the sweep runs, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

import sweeps


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and number of the scores of each trial over its seeds, best first."""
    complete = table[table["status"] == "complete"]
    return complete.groupby("trial")["mIoU"].agg(["mean", "std", "count"]).sort_values("mean", ascending=False)


def plot(table: pd.DataFrame, key: str, file: Path) -> None:
    """Draw the scores of complete runs over one of the parameters."""
    complete = table[(table["status"] == "complete") & table[key].notna()]
    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.plot(complete[key], complete["mIoU"], "o")
    axes.set(xlabel=key, ylabel="mIoU, %")
    figure.savefig(file, dpi=120)


def main(folder: Path, file: Path) -> None:
    """Print the means, and draw the scores over the first parameter that was searched."""
    results = sweeps.read(folder)
    table = results.to_pandas()
    print(means(table).to_string(float_format="%.2f"))
    searched = next(iter(results.sweep.space))
    plot(table, searched if searched in table else searched.rpartition(".")[2], file)
    print(f"{searched} against mIoU -> {file}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

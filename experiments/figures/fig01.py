"""Figure 1: Adam on a stream of random labels, accuracy and dead units.

Needs the runs of configs/supervised/adam_instability.py, `cpu` and `cpu,tuned`:
  python -m experiments.sweep --config=configs/supervised/adam_instability.py:cpu \\
      --grid='{"variants": ["", "tuned"]}' --seeds=100:105 --out=runs/adam_instability
  python -m experiments.figures.fig01 runs/adam_instability --out=docs/figures/fig01
"""

from experiments.figures import task_stream
from experiments.figures.paper import MEAN, PaperFigure, main

FIGURE = PaperFigure(
    title="Figure 1. Adam on a stream of random labels: accuracy and dead units",
    caption=(
        "One network on a stream of tasks: the same images with new random labels at"
        " each dotted line. Left, the share of labels fitted; middle, hidden units that"
        f" are 0 on every image; right, the largest update since the last row. {MEAN}"
    ),
    alt=task_stream.PLOT.alt,
    config="configs/supervised/adam_instability.py",
    select=lambda runs: [
        run
        for run in runs
        if run.config.get("learner", {}).get("stream") == "random_labels"
        and "eval/accuracy" in run.metrics
    ],
    draw=task_stream.draw,
)

if __name__ == "__main__":
    main(FIGURE)

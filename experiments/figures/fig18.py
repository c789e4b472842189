"""Figure 18: the probe's learning curves on hard, by normalisation and head.

Needs the runs of configs/block_mdp/probe_curves.py:
  python -m experiments.sweep --config=configs/block_mdp/probe_curves.py:cpu \\
      --out=runs/probe_curves
  python -m experiments.figures.fig18 runs/probe_curves --out=docs/figures/fig18
"""

from experiments.figures import lines
from experiments.figures.paper import main

FIGURE = lines.curves_by_method(18, "hard")

if __name__ == "__main__":
    main(FIGURE)

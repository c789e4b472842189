"""Figure 17: the probe's learning curves on easy, by normalisation and head.

Needs the runs of configs/block_mdp/probe_curves.py:
  python -m experiments.sweep --config=configs/block_mdp/probe_curves.py:cpu \\
      --out=runs/probe_curves
  python -m experiments.figures.fig17 runs/probe_curves --out=docs/figures/fig17
"""

from experiments.figures import lines
from experiments.figures.paper import main

FIGURE = lines.curves_by_method(17, "easy")

if __name__ == "__main__":
    main(FIGURE)

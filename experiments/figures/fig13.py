"""Figure 13: accuracy against iterations on hard, a line an intervention.

Needs the runs of configs/block_mdp/policies.py:
  python -m experiments.sweep --config=configs/block_mdp/policies.py:cpu \\
      --out=runs/policies
  python -m experiments.figures.fig13 runs/policies --out=docs/figures/fig13
"""

from experiments.figures import policies
from experiments.figures.paper import main

FIGURE = policies.figure(13, "hard", "eval/accuracy")

if __name__ == "__main__":
    main(FIGURE)

"""Figure 16: TD error against iterations on hard, a line an intervention.

Needs the runs of configs/block_mdp/policies.py:
  python -m experiments.sweep --config=configs/block_mdp/policies.py:cpu \\
      --out=runs/policies
  python -m experiments.figures.fig16 runs/policies --out=docs/figures/fig16
"""

from experiments.figures import policies
from experiments.figures.paper import main

FIGURE = policies.figure(16, "hard", "eval/td_error")

if __name__ == "__main__":
    main(FIGURE)

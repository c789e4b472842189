"""Figure 15: TD error against iterations on easy, a line an intervention.

Needs the runs of configs/block_mdp/policies.py:
  python -m experiments.sweep --config=configs/block_mdp/policies.py:cpu \\
      --out=runs/policies
  python -m experiments.figures.fig15 runs/policies --out=docs/figures/fig15
"""

from experiments.figures import policies
from experiments.figures.paper import main

FIGURE = policies.figure(15, "easy", "eval/td_error")

if __name__ == "__main__":
    main(FIGURE)

"""Figure 12: accuracy against iterations on easy, a line an intervention.

Needs the runs of configs/block_mdp/policies.py:
  python -m experiments.sweep --config=configs/block_mdp/policies.py:cpu \\
      --out=runs/policies
  python -m experiments.figures.fig12 runs/policies --out=docs/figures/fig12
"""

from experiments.figures import policies
from experiments.figures.paper import main

FIGURE = policies.figure(12, "easy", "eval/accuracy")

if __name__ == "__main__":
    main(FIGURE)

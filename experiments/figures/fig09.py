"""Figure 9: interventions, change in probe loss, MNIST, ours beside the paper's.

Needs the runs of configs/block_mdp/interventions.py:
  python -m experiments.sweep --config=configs/block_mdp/interventions.py:cpu \\
      --out=runs/interventions
  python -m experiments.figures.fig09 runs/interventions --out=docs/figures/fig09
"""

from experiments.figures import intervention_table
from experiments.figures.paper import main

FIGURE = intervention_table.figure(9, "probe_loss_change", "mnist")

if __name__ == "__main__":
    main(FIGURE)

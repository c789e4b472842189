"""Figure 8: interventions, change in probe loss, CIFAR-10, ours beside the paper's.

Needs the runs of configs/block_mdp/interventions.py:
  python -m experiments.sweep --config=configs/block_mdp/interventions.py:cpu \\
      --out=runs/interventions
  python -m experiments.figures.fig08 runs/interventions --out=docs/figures/fig08
"""

from experiments.figures import intervention_table
from experiments.figures.paper import main

FIGURE = intervention_table.figure(8, "probe_loss_change", "cifar10")

if __name__ == "__main__":
    main(FIGURE)

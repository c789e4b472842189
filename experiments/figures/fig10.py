"""Figure 10: interventions, probe loss at the start, ours beside the paper's.

Needs the runs of configs/block_mdp/interventions.py:
  python -m experiments.sweep --config=configs/block_mdp/interventions.py:cpu \\
      --out=runs/interventions
  python -m experiments.figures.fig10 runs/interventions --out=docs/figures/fig10
"""

from experiments.figures import intervention_table
from experiments.figures.paper import main

FIGURE = intervention_table.figure(10, "probe_loss_initial", None)

if __name__ == "__main__":
    main(FIGURE)

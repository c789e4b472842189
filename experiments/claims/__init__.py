"""The paper's claims: what each compares (effects), and the rules, fixed beforehand."""

from experiments.claims import (
    adam_instability,
    correlations,
    landscape,
    plasticity_loss,
    policies,
    probe_curves,
)

# (runs by arm) -> effects; a claim's parts are judged alike unless they stand here.
EFFECTS = {
    "C1": adam_instability.collapse,
    "C2": adam_instability.cure,
    "C3": landscape.growth,
    "C4": landscape.interference,
    "C5": correlations.signs,
    "C6": probe_curves.shape,
    "C7": plasticity_loss.over_width,
    "C8": plasticity_loss.difference,
    "C8 reset last layer": plasticity_loss.by_architecture,
    "C9": landscape.flat_with_layer_norm,
    "C10": policies.perturbed,
    "C11": policies.stability,
}

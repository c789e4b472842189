"""Can this network still learn? Probes, learners and interventions in JAX."""

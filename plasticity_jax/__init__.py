"""Can this network still learn? Plasticity probes, learners and interventions in JAX."""

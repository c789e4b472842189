"""What a sweep does: grids into configs, configs into groups, groups into runs."""

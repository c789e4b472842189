"""Learners: network, loss, optimiser and task as one state that advances."""

"""Data, streams of tasks and pure environments."""

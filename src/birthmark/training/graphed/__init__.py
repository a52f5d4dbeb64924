"""The path of a GPU: several steps of a stack captured in one CUDA graph."""

from birthmark.training.graphed.lanes import Lane
from birthmark.training.graphed.path import GraphedPath, steps_of_lap

__all__ = ["GraphedPath", "Lane", "steps_of_lap"]

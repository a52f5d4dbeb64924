"""The path of a GPU: several steps of a stack captured in one CUDA graph."""

from birthmark.training.graphed.path import GraphedPath
from birthmark.training.graphed.streams import DeviceStream

__all__ = ["GraphedPath", "DeviceStream"]

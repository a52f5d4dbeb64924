"""Who carries tasks out: this process, a pool of processes, or a Ray cluster.

Each takes tasks in their order and yields what becomes of them, as it becomes of them.
A task that is lost (a worker that died, a node that went) goes on from its checkpoint
elsewhere, `MOST_LOSSES` times.
"""

from birthmark.sweeps.executors.interface import MOST_LOSSES, Executor
from birthmark.sweeps.executors.on_ray import OnRay
from birthmark.sweeps.executors.processes import Here, Processes

__all__ = ["MOST_LOSSES", "Executor", "Here", "OnRay", "Processes"]

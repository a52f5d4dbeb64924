"""Is it leaving the start that loses a network? The tests near it, where it collapses.

The small network of the page about abandoned examples, which learns and then loses all
it learned: losses on the lines to where it stood best and to where it ends, layers put
back, training kept in balls, and training from moved starts.
"""

from birthmark_experiments.frame import Experiment

EXPERIMENT = Experiment(
    __name__,
    "Does a network that collapses collapse because it leaves its start?",
    ("hasyv2",),
)

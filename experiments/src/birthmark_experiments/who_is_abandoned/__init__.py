"""Which examples does a network of the paper's size abandon first?

The paper's unstable network of width 150 on all of HASYv2. At kept epochs the loss of
every training example is computed, and those below the clip are counted by what is
known of them: equal and similar images with other labels, the size of their class, and
how hard they were early on.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))

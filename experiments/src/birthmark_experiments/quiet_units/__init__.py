"""Do units that hardly any image activates make the peak at the initial weight?

The paper's network of width 150 is trained on a white and on a black background. At
kept epochs it is counted which share of the training images activates each unit of the
first hidden layer, and how far the weights out of that unit have moved.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))

"""What saves a network that has begun to abandon its examples?

Replicas are trained with a wide clip until abandoning runs away. From there each goes
on in several ways and in the same order of batches: as before, without the clip, more
slowly, or with one of its layers put back to where it started.
"""

from ..frame import Experiment

EXPERIMENT = Experiment(__name__, __doc__, ("hasyv2",))

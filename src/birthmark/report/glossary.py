"""The words of a report, for a reader who has not met them."""

GLOSSARY: dict[str, str] = {
    "initial configuration": "the weights and biases actually drawn at the start, the "
    "mark included; everything here is measured against it",
    "width": "units of each hidden layer",
    "replica": "one network of a run, with its own random start and order of the data; "
    "n counts replicas",
    "interval": "the range in which the mean over replicas lies with 95 % confidence; "
    "Student's t over replicas, unless something else is said",
    "deviation": "of each weight, its current minus its initial value",
    "distance": "the Euclidean norm of the deviation of a layer; the relative distance "
    "is that over the norm of the initial weights (an independent second draw would "
    "stand at 1.41)",
    "correlation": "of the current with the initial weights of a layer: 1 where the "
    "start still shows everywhere, 0 where it is forgotten",
    "mark, retention": "weights that were changed in the initial configuration so that "
    "a sign can be recognized in the matrix, and how readable it still is: 1 is "
    "perfect, 0.5 is gone (area under the ROC curve of the weights as its detector)",
    "loss of chance": "the loss of a network that gives all classes the same "
    "probability",
    "abandoned example": "the probability of its true class is below eps, so the "
    "clipped loss gives no gradient to mend it",
    "saturated example": "the probability of its true class is above 1 - eps: no "
    "gradient either, because it is right",
    "regime": "where a network stands at an epoch: low trainability (not learned yet), "
    "high trainability (learned), untrainability (more training makes it worse)",
    "learner": "what a network is over its whole training, by the thresholds printed "
    "above: strong (ends at a small train loss), weak (never reached one), unstable "
    "(reached one and lost it), undecided (reached one and did not end strong)",
    "divergence": "the train loss reaches the plateau of a network that answers with "
    "one class (for losses without a plateau: it rises above the loss of chance)",
    "run, run key": "one spec carried out for all its replicas; the key is a hash of "
    "every field of the spec, and the name of the folder in the store",
}

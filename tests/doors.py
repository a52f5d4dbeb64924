"""What a test changes in a training between two steps."""


def put(training, name, place, value):
    """Write a value into some place of a parameter, such as `hidden1.b`."""
    layer, _, kind = name.rpartition(".")
    values = getattr(training.weights[layer], kind).clone()
    values[place] = value
    training.set_weights({name: values})

"""Keras 3 on any backend
======================

A callback for ``fit``. ``pip install keras``, then
``KERAS_BACKEND=torch python examples/frameworks/keras_fit.py``.
"""

import keras
from sklearn.datasets import load_digits

from birthmark.integrations.keras import TrackerCallback


def main(store: str = "runs", epochs: int = 3) -> None:
    """Fit, and say what has become of the start."""
    x, y = load_digits(return_X_y=True)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    watch = TrackerCallback(store=store, name="keras")
    model.fit(x / 16, y, batch_size=64, epochs=epochs, callbacks=[watch], verbose=2)
    print(watch.summary())


if __name__ == "__main__":
    main()

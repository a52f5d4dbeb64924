"""Make the files of this folder, with Keras 3 on torch: python make.py

A network before and after training in Keras' three formats, and what Keras itself says
of its weights: `weights.npz`, read with `get_weights`.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

FOLDER = Path(__file__).parent
keras.utils.set_random_seed(7)
model = keras.Sequential(
    [
        keras.Input((12,)),
        keras.layers.Dense(16, activation="relu", name="first"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(16, name="second"),
        keras.layers.Dense(3, name="head"),
    ]
)
start = [value.copy() for value in model.get_weights()]
model.save(FOLDER / "start.keras")
model.compile(keras.optimizers.SGD(0.1), "mse")
rng = np.random.default_rng(0)
x = rng.normal(size=(256, 12)).astype("float32")
model.fit(x, x[:, :3] * x[:, 3:6], epochs=20, verbose=0)
model.compile()
model.save(FOLDER / "end.keras")
model.save(FOLDER / "end.h5")
model.save_weights(FOLDER / "end.weights.h5")
names = [variable.path.partition("/")[2] for variable in model.weights]
both = zip(names, start, model.get_weights(), strict=True)
np.savez(
    FOLDER / "weights.npz",
    **{f"{n}/{when}": v for n, s, e in both for when, v in (("start", s), ("end", e))},
)

"""One replica in Keras on TensorFlow, at its best."""

import os

import keras
import numpy as np
import tensorflow as tf

from throughput.case import BATCH, EPS, LR, Array, Case, Layers
from throughput.trainer import Metrics


def clipped_cross_entropy(y_B: tf.Tensor, z_BK: tf.Tensor) -> tf.Tensor:
    """Loss of each example."""
    index_B = tf.cast(tf.reshape(y_B, [-1]), tf.int32)  # Keras made them float
    p_true = tf.gather(tf.nn.softmax(z_BK), index_B, batch_dims=1)
    return -tf.math.log(tf.clip_by_value(p_true, EPS, 1 - EPS))


class KerasFit:
    """`fit` that stays inside one graph for all steps of a call."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        if os.environ.get("KERAS_BACKEND") != "tensorflow":
            raise RuntimeError("the peer is Keras on TensorFlow: set KERAS_BACKEND")
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        keras.backend.clear_session()
        self.model = keras.Sequential([keras.Input((case.sizes[0],))])
        for units in case.sizes[1:-1]:
            self.model.add(keras.layers.Dense(units, activation="relu"))
        self.model.add(keras.layers.Dense(case.sizes[-1]))
        self.model.set_weights([a[0] for layer in layers for a in layer])
        self.x_NI = tf.constant(x_NI.astype(np.float32) / 255)
        self.y_N = tf.constant(y_N.astype(np.int32))
        self.draws = np.random.default_rng(1)
        self.compile(case.steps)

    def compile(self, steps_per_execution: int) -> None:
        """So many steps in one call of the compiled graph."""
        self.steps_per_execution = steps_per_execution
        self.model.compile(
            optimizer=keras.optimizers.SGD(LR),
            loss=clipped_cross_entropy,
            metrics=["sparse_categorical_accuracy"],
            jit_compile=True,
            steps_per_execution=steps_per_execution,
        )

    def prepare(self) -> None:
        """Nothing to do."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics:
        """See `Trainer`."""
        if num_steps != self.steps_per_execution:
            self.compile(num_steps)
        order_N = (
            self.draws.permutation(len(self.x_NI)) if order_RN is None else order_RN[0]
        )
        index_SB = order_N[: num_steps * BATCH].reshape(num_steps, BATCH)
        batches = tf.data.Dataset.from_tensor_slices(index_SB)
        batches = batches.map(
            lambda index_B: (
                tf.gather(self.x_NI, index_B),
                tf.gather(self.y_N, index_B),
            )
        )
        history = self.model.fit(
            batches.prefetch(tf.data.AUTOTUNE), verbose=0, shuffle=False
        ).history
        loss, accuracy = history["loss"], history["sparse_categorical_accuracy"]
        return np.array(loss), np.array(accuracy)

"""Ten replicas in JAX: one vmap, and the fastest way that was found."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array as JaxArray
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from throughput.case import BATCH, EPS, LR, Array, Case, Layers
from throughput.trainer import Metrics

Parameters = list[tuple[JaxArray, JaxArray]]


def mean_loss(
    layers: Parameters, x_BI: JaxArray, y_B: JaxArray
) -> tuple[JaxArray, JaxArray]:
    """Clipped loss of one replica on a batch, and its correct answers."""
    a = x_BI
    for w_IO, b_O in layers[:-1]:
        a = jax.nn.relu(a @ w_IO + b_O)
    w_IO, b_O = layers[-1]
    z_BK = a @ w_IO + b_O
    p_true = jnp.take_along_axis(jax.nn.softmax(z_BK), y_B[:, None], axis=1)[:, 0]
    loss = -jnp.log(jnp.clip(p_true, EPS, 1 - EPS)).mean()
    return loss, (z_BK.argmax(axis=1) == y_B).sum()


def train_one(
    layers: Parameters, index_SB: JaxArray, x_NI: JaxArray, y_N: JaxArray
) -> tuple[Parameters, JaxArray, JaxArray]:
    """All steps of one replica: its weights, summed loss, and correct answers."""

    def step(
        carry: tuple[Parameters, JaxArray, JaxArray], index_B: JaxArray
    ) -> tuple[tuple[Parameters, JaxArray, JaxArray], None]:
        layers, total, correct = carry
        x_BI = x_NI[index_B].astype(jnp.float32) / 255
        (loss, hits), gradients = jax.value_and_grad(mean_loss, has_aux=True)(
            layers, x_BI, y_N[index_B]
        )
        layers = jax.tree.map(lambda w, g: w - LR * g, layers, gradients)
        return (layers, total + loss, correct + hits), None

    nothing = (layers, jnp.float32(0), jnp.int32(0))
    return lax.scan(step, nothing, index_SB)[0]


class VmapScan:
    """One program for all replicas."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        self.draws = np.random.default_rng(1)
        self.num_replicas, self.num_examples = case.replicas, case.num_examples
        self.x_NI, self.y_N = self.place(x_NI), self.place(y_N.astype(np.int32))
        self.layers = [(self.place(w, True), self.place(b, True)) for w, b in layers]
        self.run = self.compile()

    def place(self, values: Array, by_replica: bool = False) -> JaxArray:
        """Put it where it is computed with."""
        return jnp.array(values)

    def compile(self) -> jax.stages.Wrapped:
        """The program, compiled at its first call."""
        train_all = jax.vmap(train_one, in_axes=(0, 0, None, None))
        return jax.jit(train_all, donate_argnums=0)

    def prepare(self) -> None:
        """Nothing to do."""

    def train(self, num_steps: int, order_RN: Array | None = None) -> Metrics:
        """See `Trainer`."""
        if order_RN is None:
            replicas = range(self.num_replicas)
            order_RN = np.stack(
                [self.draws.permutation(self.num_examples) for _ in replicas]
            )
        index_RN = order_RN[:, : num_steps * BATCH].astype(np.int32)
        index_RSB = index_RN.reshape(self.num_replicas, num_steps, BATCH)
        self.layers, loss_R, correct_R = self.run(
            self.layers, self.place(index_RSB, True), self.x_NI, self.y_N
        )
        jax.block_until_ready(self.layers)
        accuracy_R = np.asarray(correct_R) / num_steps / BATCH
        return np.asarray(loss_R) / num_steps, accuracy_R


class SplitOverDevices(VmapScan):
    """As many single-threaded programs as there are host devices."""

    def __init__(
        self, case: Case, x_NI: Array, y_N: Array, layers: Layers, threads: int
    ) -> None:
        # every device gets the same number of replicas
        count = max(n for n in range(1, threads + 1) if case.replicas % n == 0)
        self.mesh = Mesh(np.array(jax.devices()[:count]), ("replica",))
        super().__init__(case, x_NI, y_N, layers, threads)

    def place(self, values: Array, by_replica: bool = False) -> JaxArray:
        """Split by replica, or copied to every device."""
        axes = PartitionSpec("replica") if by_replica else PartitionSpec()
        return jax.device_put(values, NamedSharding(self.mesh, axes))

    def compile(self) -> jax.stages.Wrapped:
        """On each device its replicas one after another."""
        split, whole = PartitionSpec("replica"), PartitionSpec()

        def train_some(
            layers: Parameters, index_RSB: JaxArray, x_NI: JaxArray, y_N: JaxArray
        ) -> tuple[Parameters, JaxArray, JaxArray]:
            one = lambda args: train_one(*args, x_NI, y_N)  # noqa: E731
            return lax.map(one, (layers, index_RSB))

        program = jax.shard_map(
            train_some,
            mesh=self.mesh,
            in_specs=(split, split, whole, whole),
            out_specs=split,
            check_vma=False,
        )
        return jax.jit(program, donate_argnums=0)

"""The steps in C on another kind of processor: 64-bit ARM, emulated by QEMU."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import birthmark as bm
from birthmark import compilation
from birthmark.training import compiled
from test_training_compiled import random_dataset, train
from test_training_equality import make_spec

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason=f"{COMPILER} and {EMULATOR} are not here "
    "(apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)",
)
EPOCHS = 2


def build(folder, options):
    flags = [x for x in compilation._FLAGS if x not in ("-shared", "-fPIC")]
    made = folder / "train_one"
    source = Path(__file__).parent / "train_one.c"
    room = Path(compiled.__file__).parent
    subprocess.run(
        [COMPILER, *flags, *options, "-Werror", "-static", "-mcpu=cortex-a76"]
        + ["-I", str(room), str(source), "-o", str(made), "-lm"],
        check=True,
    )
    return made


@pytest.mark.parametrize(
    ("dtype", "options", "tolerance"),
    [
        ("float64", ["-DREAL=double", "-DREAL_IS_DOUBLE"], 1e-9),
        ("float32", ["-DREAL=float"], 2e-4),
    ],
)
@pytest.mark.parametrize("loss", ["cross_entropy", "clipped_cross_entropy"])
def test_arm_makes_the_steps_that_torch_makes(
    tmp_path, dtype, options, tolerance, loss
):
    data = random_dataset(65, 21)
    spec = make_spec(loss, eps=1e-3, lr=0.3, batch_size=16, replicas=1)
    spec = spec.with_settings({"network.widths": [17, 33], "run.dtype": "float64"})
    training, metrics = train(spec, data, "fast", epochs=EPOCHS)
    layers = [training.initial[name] for name in training.initial]
    sizes = [65, *(layer.b.shape[1] for layer in layers)]
    size = len(data.x_train)
    orders = [
        bm.batch_order(spec, 0, epoch, num_examples=size) for epoch in range(EPOCHS)
    ]
    of_loss = ["cross_entropy", "clipped_cross_entropy"].index(loss)
    head = [len(layers), 16, of_loss, size, EPOCHS]
    parts = [
        np.array(head, np.int64),
        np.array([data.full_scale, data.mean, data.std, 1e-3, 0.3]),
        np.array(sizes, np.int64),
        np.asarray(data.x_train, np.uint8),
        np.asarray(data.y_train, np.int64),
        np.array(orders, np.int64),
        *(np.asarray(x[0], dtype) for layer in layers for x in (layer.w, layer.b)),
    ]
    done = subprocess.run(
        [EMULATOR, str(build(tmp_path, options))],
        input=b"".join(part.tobytes() for part in parts),
        capture_output=True,
        check=True,
    )
    expected = [training.weights[name] for name in training.weights]
    expected = [np.asarray(x[0]).ravel() for one in expected for x in (one.w, one.b)]
    found = np.frombuffer(done.stdout[:-8], dtype)
    np.testing.assert_allclose(
        found, np.concatenate(expected), rtol=tolerance, atol=tolerance / 100
    )
    losses = sum(one.train_loss.item() for one in metrics) * size
    assert np.frombuffer(done.stdout[-8:])[0] == pytest.approx(losses, rel=tolerance)

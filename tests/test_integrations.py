"""Integrations with the real frameworks; `make test-frameworks` installs them.

What a tracker records is held against the weights themselves, before and after, in
plain float64.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import birthmark as bm
from birthmark.integrations.json_lines import JsonLinesSink

pytestmark = pytest.mark.frameworks


def clone(model):
    return {n: p.detach().double().clone() for n, p in model.named_parameters()}


def distances(before, after):
    return {name: float((after[name] - w).norm()) for name, w in before.items()}


def recorded(records):
    last = records.distance.isel(step=-1, replica=0)
    return dict(zip(last.parameter.values.tolist(), last.values.tolist(), strict=True))


def make_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3)
    )


def make_batches(count=8, size=16):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(count, size, 6, generator=draw)
    return [(x[i], x[i, :, :3].argmax(1)) for i in range(count)]


# --- Lightning ---


@pytest.mark.filterwarnings("ignore")
def test_lightning_keeps_the_start_through_a_resume(tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")
    from birthmark.integrations.lightning import TrackerCallback

    class Net(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = make_net()

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    def loader():
        return torch.utils.data.DataLoader(make_batches(), batch_size=None)

    def fit(epochs, callback, **where):
        net = Net()
        trainer = lightning.Trainer(
            max_epochs=epochs,
            callbacks=[callback],
            default_root_dir=tmp_path,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            accelerator="cpu",
        )
        before = clone(net)
        trainer.fit(net, loader(), **where)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return before, clone(net)

    whole = TrackerCallback(store=tmp_path / "runs", name="whole")
    before, after = fit(4, whole)
    assert whole.tracker.num_steps == 32
    expected = distances(before, after)
    assert recorded(whole.tracker.records) == pytest.approx(expected, rel=1e-6)

    class Stops(TrackerCallback):
        def on_train_end(self, *_):
            pass  # as one that is killed: nothing is declared done

    settings = {"store": tmp_path / "runs", "name": "resumed"}
    first = Stops(**settings)
    fit(2, first)
    first.tracker.close()
    second = TrackerCallback(**settings)
    _, end = fit(4, second, ckpt_path=tmp_path / "2.ckpt", weights_only=False)
    assert second.tracker.run_key == first.tracker.run_key
    assert recorded(second.tracker.records) == pytest.approx(
        distances(before, end), rel=1e-6
    )
    steps = second.tracker.records.step.values.tolist()
    assert steps == whole.tracker.records.step.values.tolist()


# --- Transformers ---


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_goes_on_from_its_checkpoint_with_the_true_start(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from birthmark.integrations.transformers import TrackerCallback

    config = transformers.GPT2Config(
        vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2
    )
    tokens = torch.randint(0, 32, (32, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in tokens]

    class Killed(transformers.TrainerCallback):
        """The process ends right after the checkpoint of step 6 and two steps more."""

        def on_step_end(self, arguments, state, control, **rest):
            if state.global_step == 8:
                raise KeyboardInterrupt

    def train(*callbacks, out="out", **resume):
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
        before = clone(model)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / out),
            max_steps=12,
            per_device_train_batch_size=8,
            save_steps=6,
            logging_steps=3,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            gradient_accumulation_steps=2,
        )
        trainer = transformers.Trainer(
            model, arguments, train_dataset=data, callbacks=list(callbacks)
        )
        trainer.train(**resume)
        return before, clone(model)

    first = TrackerCallback(store=tmp_path / "first", name="gpt")
    before, after = train(first)
    assert first.tracker.num_steps == 12  # of 24 batches: steps of the optimizer count
    expected = distances(before, after)
    expected.pop("lm_head.weight", None)  # tied to the embedding
    assert recorded(first.tracker.records) == pytest.approx(expected, rel=1e-6)
    assert "loss" in first.tracker.records

    # killed at step 8 and gone on with from step 6: steps 7 and 8 come again
    killed = TrackerCallback(store=tmp_path / "cut", name="gpt")
    with pytest.raises(KeyboardInterrupt):
        train(killed, Killed(), out="cut")
    killed.tracker.close()
    resumed = TrackerCallback(store=tmp_path / "cut", name="gpt")
    _, end = train(
        resumed, out="cut", resume_from_checkpoint=str(tmp_path / "cut/checkpoint-6")
    )
    assert {n: w.tolist() for n, w in end.items()} == {
        n: w.tolist() for n, w in after.items()
    }
    assert resumed.tracker.run_key == first.tracker.run_key
    whole, cut = (one.tracker.records for one in (first, resumed))
    names = [n for n in whole if whole[n].dims == ("step", "replica", "parameter")]
    xr.testing.assert_identical(cut[names], whole[names])

    # without the tracker's file it is refused: the start would be that of step 6
    (tmp_path / "cut/checkpoint-6/birthmark.pt").unlink()
    with pytest.raises(Exception, match="birthmark.pt|replica|name"):
        train(
            TrackerCallback(store=tmp_path / "cut", name="gpt"),
            out="cut",
            resume_from_checkpoint=str(tmp_path / "cut/checkpoint-6"),
        )


# --- accelerate, GradScaler, torch.compile ---


@pytest.mark.filterwarnings("ignore")
def test_accelerate_saves_and_loads_the_tracker(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net, optimizer = accelerator.prepare(net, optimizer)
    before = clone(net)
    tracker = bm.Tracker(net, optimizer, store=tmp_path / "runs", name="net")
    accelerator.register_for_checkpointing(tracker)
    for x, y in make_batches():
        accelerator.backward(nn.functional.cross_entropy(net(x), y))
        optimizer.step()
        optimizer.zero_grad()
    assert tracker.num_steps == 8
    accelerator.save_state(tmp_path / "state")
    assert recorded(tracker.records) == pytest.approx(distances(before, clone(net)))


def test_steps_that_a_scaler_skips_are_not_counted():
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    tracker = bm.Tracker(net, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for i, (x, y) in enumerate(make_batches(4)):
        loss = nn.functional.cross_entropy(net(x), y) * (float("inf") if i == 1 else 1)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert tracker.num_steps == 3


# --- Keras ---

KERAS = """
import json, sys
import keras, numpy as np
from birthmark.integrations.keras import TrackerCallback
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"),
                          keras.layers.BatchNormalization(), keras.layers.Dense(3)])
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
draw = np.random.default_rng(0)
x, y = draw.normal(size=(96, 6)).astype("float32"), draw.integers(0, 3, 96)
read = lambda: {v.path: np.array(v, dtype=float) for v in model.trainable_variables}
before, callback = read(), TrackerCallback(store=sys.argv[1], name="keras")
model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[callback])
after, tracker = read(), callback.tracker
last = tracker.records.distance.isel(step=-1, replica=0)
print(json.dumps({
    "step": tracker.num_steps,
    "expected": {n: float(np.linalg.norm(after[n] - before[n])) for n in before},
    "found": dict(zip(last.parameter.values.tolist(), last.values.tolist())),
    "metrics": sorted(set(tracker.records) & {"loss"}),
}))
"""


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_keras_on_each_backend(tmp_path, backend):
    # without importing Keras here: that would choose a backend for this process
    for name in ("keras", backend):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    process = subprocess.run(
        [sys.executable, "-c", KERAS, str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=550,
    )
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout.splitlines()[-1])
    assert told["step"] == 18
    assert told["found"] == pytest.approx(told["expected"], rel=1e-5)
    assert told["metrics"] == ["loss"]


# --- JAX ---


def test_a_pytree_of_jax_is_tracked(tmp_path):
    jax = pytest.importorskip("jax")
    from birthmark.integrations.jax import PytreeTracker

    draw = np.random.default_rng(0)
    params = {"dense": {"kernel": draw.normal(size=(4, 3)), "bias": np.zeros(3)}}
    params = jax.tree.map(jax.numpy.float32, params)
    x = jax.numpy.float32(draw.normal(size=(16, 4)))

    @jax.jit
    def step(params):
        def loss(p):
            return ((x @ p["dense"]["kernel"] + p["dense"]["bias"] - 1) ** 2).mean()

        return jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params))

    start = jax.tree.map(np.float64, params)
    tracker = PytreeTracker(params, store=tmp_path, name="jax")
    for _ in range(10):
        params = step(params)
        tracker.step(params)
    tracker.tracker.finish()
    far = jax.tree.map(lambda a, b: float(np.linalg.norm(b - a)), start, params)
    assert recorded(tracker.tracker.records) == pytest.approx(
        {"dense/kernel": far["dense"]["kernel"], "dense/bias": far["dense"]["bias"]},
        rel=1e-5,
    )


# --- PEFT ---


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
    ],
    ids=["lora", "rslora", "dora", "pissa", "olora"],
)
def test_the_effective_weight_is_what_the_layer_does(settings):
    peft = pytest.importorskip("peft")
    from birthmark.integrations.peft import describe_adapters, effective_weights

    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    plain = net[0].weight.detach().clone()
    config = peft.LoraConfig(r=2, target_modules=["0"], lora_alpha=4, **settings)
    model = peft.get_peft_model(net, config)
    (name,) = effective_weights(model)

    def acting():  # the layer by what it does to the unit vectors
        layer = model.base_model.model[0]
        return (layer(torch.eye(6)) - layer(torch.zeros(1, 6))).T.detach()

    start = effective_weights(model)[name].clone()
    torch.testing.assert_close(start, plain, rtol=1e-4, atol=1e-5)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.5)
    tracker = bm.Tracker(lambda: effective_weights(model), optimizer)
    for x, y in make_batches():
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = effective_weights(model)[name]
    torch.testing.assert_close(found, acting(), rtol=1e-4, atol=1e-5)
    far = float((found.double() - start.double()).norm())
    assert far > 0.01
    assert recorded(tracker.records)[name] == pytest.approx(far, rel=1e-5)
    (adapter,) = describe_adapters(model)
    assert adapter.state == "acts"


def test_an_adapter_that_changes_nothing_is_told():
    peft = pytest.importorskip("peft")
    from birthmark.integrations.peft import describe_adapters

    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    model = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["0", "1"]))
    assert {a.state for a in describe_adapters(model)} == {
        "B is still zero: it changes nothing"
    }
    model.merge_adapter()
    assert all(a.state.startswith("merged") for a in describe_adapters(model))


# --- Sinks ---


def track(sink, tmp_path):
    """Twenty steps, the third block of weights never trained; what was recorded."""
    net = make_net()
    optimizer = torch.optim.SGD(net[:3].parameters(), 0.1)
    tracker = bm.Tracker(
        net,
        optimizer,
        store=tmp_path / "runs",
        name="net",
        sinks=[sink],
        measurements=["distance", "nonfinite_count", "joint_count"],
    )
    for x, y in make_batches(20):
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        tracker.log(loss=loss)
    tracker.finish()
    return tracker.records.distance.sel(parameter="0.weight", replica=0)


def test_json_lines(tmp_path):
    expected = track(JsonLinesSink(tmp_path / "log.jsonl"), tmp_path)
    lines = list(map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()))
    assert lines[0]["name"] == "net"
    found = {
        x["step"]: x["distance/0.weight"] for x in lines if "distance/0.weight" in x
    }
    assert found[16] == pytest.approx(float(expected.sel(step=16)))
    assert sum("loss" in line for line in lines) == 20
    assert any("3.weight" in line.get("alert", "") for line in lines)


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from birthmark.integrations.tensorboard import TensorBoardSink

    expected = track(TensorBoardSink(tmp_path / "tb"), tmp_path)
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    found = {e.step: e.value for e in events.Scalars("distance/0.weight")}
    assert found[16] == pytest.approx(float(expected.sel(step=16)), rel=1e-6)
    assert "loss" in events.Tags()["scalars"]


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from birthmark.integrations.wandb import STEP, WandbSink

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="test", dir=tmp_path)
    expected = track(WandbSink(run), tmp_path)
    summary = dict(run.summary)
    run.finish()
    assert summary[STEP] == 20
    assert summary["distance/0.weight"] == pytest.approx(float(expected[-1]))
    (kept,) = Path(tmp_path).rglob("*.wandb")
    assert b"in no group of the optimizer" in kept.read_bytes()  # the alert


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    from birthmark.integrations.mlflow import MlflowSink

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as run:
        expected = track(MlflowSink(), tmp_path)
    history = mlflow.MlflowClient().get_metric_history(
        run.info.run_id, "distance/0.weight"
    )
    found = {point.step: point.value for point in history}
    assert found[16] == pytest.approx(float(expected.sel(step=16)))


@pytest.mark.filterwarnings("ignore")
def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    trackio = pytest.importorskip("trackio")
    from birthmark.integrations.trackio import TrackioSink

    trackio.init(project="test", name="run")
    track(TrackioSink(), tmp_path)
    trackio.finish()
    kept = b"".join(one.read_bytes() for one in (tmp_path / "trackio").rglob("*.db*"))
    assert b"in no group of the optimizer" in kept  # the alert

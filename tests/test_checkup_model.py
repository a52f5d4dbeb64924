"""The model is left as it was, whatever wraps it; the rest is refused."""

import copy
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import birthmark as bm
from architectures import HEALTHY, images, lstm, resnet
from birthmark.checkup import check
from birthmark.errors import SpecError, WeightsError


def dense():
    return nn.Sequential(
        nn.Linear(12, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(16, 3),
    )


def data():
    return torch.randn(20, 12), torch.arange(20) % 3


class Counting(nn.Module):
    """A forward pass that counts, in an attribute and a buffer, and draws numbers."""

    def __init__(self):
        super().__init__()
        self.body = dense()
        self.calls = 0
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        self.seen += len(x)
        noise = random.random() + np.random.random()
        return self.body(x + 1e-3 * noise)


def state_of(model):
    bits = {
        name: (value.detach().clone(), value.data_ptr(), value._version)
        for name, value in [*model.named_parameters(), *model.named_buffers()]
    }
    gradients = {
        name: None if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
    }
    hooks = {
        name: (
            len(m._forward_hooks),
            len(m._backward_hooks),
            m.training,
            sorted(m.__dict__),
        )
        for name, m in model.named_modules()
    }
    requires = {name: p.requires_grad for name, p in model.named_parameters()}
    return bits, gradients, hooks, requires


def assert_same_state(before, after):
    assert before[2:] == after[2:]
    for name, (value, address, version) in before[0].items():
        other, new_address, new_version = after[0][name]
        assert (address, version) == (new_address, new_version), name
        assert torch.equal(value.nan_to_num(7), other.nan_to_num(7)), name
    for name, gradient in before[1].items():
        assert (gradient is None) == (after[1][name] is None)
        assert gradient is None or torch.equal(gradient, after[1][name])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet", "gpt", "lstm", "mobilenet", "unet"])
def test_parameters_buffers_gradients_and_modes_stay_bit_for_bit(name, training):
    model, batch = HEALTHY[name]()
    model.train(training)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = state_of(model)
    check(model, batch)
    assert_same_state(before, state_of(model))


def test_a_deep_check_up_leaves_the_model_too():
    model, batch = dense(), data()
    before = state_of(model)
    checkup = check(model, batch, deep=True)
    assert checkup.curvature.sharpness is not None
    assert_same_state(before, state_of(model))


def test_random_streams_go_on_as_if_nothing_had_happened():
    model, batch = Counting(), data()
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(3)
    expected = torch.rand(3), random.random(), np.random.random()
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(3)
    check(model, batch, deep=True)
    assert torch.equal(torch.rand(3), expected[0])
    assert (random.random(), np.random.random()) == expected[1:]


def test_plain_attributes_and_buffers_that_forward_changes_are_put_back():
    model = Counting()
    check(model, data())
    assert model.calls == 0
    assert model.seen == 0


def test_the_model_is_left_when_it_fails():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.calls = dense(), 0

        def forward(self, x):
            self.calls += 1
            self.body(x)
            raise ValueError("no")

    model = Failing()
    before = state_of(model)
    with pytest.raises(WeightsError, match=r"refuses a batch of shape \(20, 12\).*no"):
        check(model, data())
    assert_same_state(before, state_of(model))
    assert model.calls == 0


def test_hooks_on_the_users_parameters_do_not_fire():
    model = dense()
    for parameter in model.parameters():  # an optimizer that steps inside of backward
        parameter.register_post_accumulate_grad_hook(lambda p: p.data.zero_())
    before = state_of(model)
    check(model, data())
    assert_same_state(before, state_of(model))


def test_training_after_a_check_up_is_the_training_without_it():
    def train(with_check):
        torch.manual_seed(1)
        model, (x, y) = resnet()
        if with_check:
            check(model, (x, y))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        return model.state_dict()

    without, with_ = train(False), train(True)
    assert all(torch.equal(without[name], with_[name]) for name in without)


def test_an_lstm_trains_on_after_a_check_up():
    model, (x, y) = lstm()
    check(model, (x, y))
    functional.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())
    copy.deepcopy(model)  # and holds nothing of the check-up


def test_a_check_up_repeats_itself():
    model, batch = resnet()
    first, second = check(model, batch), check(model, batch)
    assert first.layers == second.layers
    assert first.findings == second.findings


def test_a_compiled_model_is_looked_at_without_compiling_it():
    model, batch = resnet()
    plain = check(model, batch)

    def backend(graph, inputs):
        raise AssertionError("compiled")

    compiled = torch.compile(model, backend=backend)
    checkup = check(compiled, batch)
    assert [layer.name for layer in checkup.layers] == [x.name for x in plain.layers]
    assert checkup.layers == plain.layers
    inside = nn.Sequential(torch.compile(model, backend=backend))
    names = {tensor.name for tensor in check(inside, batch).tensors}
    assert "0.0.weight" in names  # no trace of `_orig_mod`


def test_a_parallel_wrapper_is_looked_through():
    model = dense()
    checkup = check(nn.DataParallel(model), data())
    assert checkup.layers[0].name == "0"


def test_a_meta_model_is_refused_until_it_has_numbers():
    with torch.device("meta"):
        model = dense()
    with pytest.raises(WeightsError, match="meta device.*to_empty"):
        check(model, data())
    model.to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    assert not check(model, data()).at_or_above("warning")


def test_a_lazy_model_is_refused_until_it_has_shapes():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(WeightsError, match="lazy"):
        check(model, data())
    model(data()[0])
    assert check(model, data()).num_parameters == 12 * 8 + 8 + 8 * 3 + 3


def test_parametrized_weights_are_read():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(12, 64)),
        nn.ReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(64, 3)),
    )
    before = state_of(model)
    checkup = check(model, data())
    assert_same_state(before, state_of(model))
    assert checkup.layers[0].forward_predicted == pytest.approx(
        checkup.layers[0].forward, rel=0.5
    )


def test_checkpointed_activations_give_gradients_too():
    class Saving(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(12, 16), nn.Linear(16, 3)

        def forward(self, x):
            x = checkpoint(self.body, x, use_reentrant=False)
            return self.head(functional.relu(x))

    torch.manual_seed(0)
    model, batch = Saving(), data()
    checkup = check(model, batch)
    (value,) = (t.gradient for t in checkup.tensors if t.name == "body.weight")
    functional.cross_entropy(model(batch[0]), batch[1]).backward()
    assert value == pytest.approx(float(model.body.weight.grad.square().mean().sqrt()))


@pytest.mark.parametrize(
    ("batch", "error", "words"),
    [
        ("text", SpecError, "a batch is x, .x, y. or a mapping"),
        ((torch.randn(2, 12),) * 3, SpecError, "3 parts"),
        (torch.randn(1, 12), SpecError, "at least 2 examples, got 1"),
        (torch.randn(4, 7), WeightsError, r"refuses a batch of shape \(4, 7\)"),
        (
            (torch.randn(4, 12), torch.tensor([0, 1, 2, 3])),
            WeightsError,
            "3 outputs.*classes 0 to 3",
        ),
    ],
)
def test_what_cannot_be_checked_is_refused_in_one_line(batch, error, words):
    with pytest.raises(error, match=words) as caught:
        check(dense(), batch)
    assert "\n" not in str(caught.value).splitlines()[0]


def test_names_that_no_table_has_are_refused():
    with pytest.raises(SpecError, match="did you mean 'cross_entropy'"):
        check(dense(), data(), loss="cross_entopy")
    with pytest.raises(SpecError, match="unknown initialization 'he_norm'"):
        check(dense(), data(), expected={"*.weight": "he_norm"})
    with pytest.raises(SpecError, match="torch.nn.Module"):
        check(lambda x: x, data())


def test_numpy_arrays_and_mappings_are_batches():
    x, y = data()
    plain = check(dense_seeded(), (x, y))
    assert check(dense_seeded(), (x.numpy(), y.numpy())).layers == plain.layers

    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = dense_seeded()

        def forward(self, pixels, labels):
            logits = self.body(pixels)
            return {"loss": functional.cross_entropy(logits, labels), "logits": logits}

    checkup = check(Keyword(), {"pixels": x, "labels": y})
    assert checkup.outcome.loss == pytest.approx(plain.outcome.loss)


def dense_seeded():
    torch.manual_seed(4)
    return dense()


def test_without_a_target_the_signal_is_still_read():
    checkup = check(dense(), data()[0])
    assert checkup.outcome.loss is None
    assert all(layer.backward > 0 for layer in checkup.layers)
    assert any(reason.startswith("loss:") for reason in checkup.unread)


def test_what_could_not_be_read_is_said():
    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.table = dense(), nn.Linear(3, 3)

        def forward(self, x):
            return functional.linear(self.body(x), self.table.weight, self.table.bias)

    checkup = check(Owner(), data())
    assert any("table: not called as a module" in reason for reason in checkup.unread)
    tokens = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3))
    deep = check(tokens, (torch.randint(0, 9, (8, 3)), torch.arange(8) % 3), deep=True)
    assert any("Jacobian" in reason for reason in deep.unread)


def test_the_front_door_has_the_check_up():
    assert bm.check is check


def test_batches_of_images_reach_the_model_as_images():
    model, batch = HEALTHY["vit"]()
    checkup = check(model, batch)
    assert checkup.layers[0].name == "patches"
    assert checkup.layers[0].shape == (96, 8, 8)
    assert images()[0].std() == pytest.approx(1)


def test_kinds_of_layers_beyond_the_usual_are_read():
    """No crash, no wrong finding: time first, three dimensions, sparse, complex."""

    class First(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return self.body(x)[0]

    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(12, 3, dtype=torch.cfloat) / 4)

        def forward(self, x):
            return (x.to(torch.cfloat) @ self.weight).real

    volume = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1, padding_mode="circular"),
        nn.InstanceNorm3d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 3),
    )
    bag = nn.Sequential(nn.EmbeddingBag(30, 8, sparse=True), nn.Linear(8, 3))
    y = torch.arange(20) % 3
    torch.manual_seed(0)
    for model, batch in (
        (First(nn.RNN(8, 16)), torch.randn(7, 20, 8)),
        (
            First(nn.GRU(8, 16, bidirectional=True, batch_first=True)),
            torch.randn(9, 5, 8),
        ),
        (
            nn.Sequential(nn.Conv1d(4, 8, 3, padding="same"), nn.ELU()),
            torch.randn(9, 4, 20),
        ),
        (volume, (torch.randn(20, 1, 4, 4, 4), y)),
        (bag, (torch.randint(0, 30, (20, 5)), y)),
        (Complex(), data()),
        (dense().bfloat16(), data()),
        (dense().double(), data()),
    ):
        checkup = check(model, batch)
        assert not checkup.findings, checkup.text()
        assert checkup.to_json()


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_weights_whose_squares_have_no_float_are_neither_silent_nor_infinite(size):
    model = nn.Linear(6, 5, bias=False, dtype=torch.float64)
    x = torch.rand(8, 6, dtype=torch.float64)
    with torch.no_grad():
        model.weight[0].abs_().neg_()  # never above 0 here: compared with fresh units
        model.weight[1].abs_()
        model.weight.mul_(size)
    found = bm.check(model, x)
    assert {f.name for f in found.findings}.isdisjoint(
        {"silent_layers", "nonfinite_weights", "nonfinite_outputs"}
    )
    std = size * float((model.weight.detach() / size).std(correction=0))
    assert found.tensors[0].std == pytest.approx(std, rel=1e-12)
    laws = []
    for scale in (size, 0.01):  # the law of a draw does not depend on its unit
        torch.manual_seed(1)
        wide = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64)).double()
        with torch.no_grad():
            for value in wide.parameters():
                value.mul_(scale)
        laws.append([one.family for one in bm.check(wide, x).tensors])
    assert laws[0] == laws[1] and "uniform" in laws[0]


def test_threads_that_check_one_model_at_once_read_it_as_one_does():
    model, x = nn.Linear(6, 5), torch.randn(8, 6)
    alone = check(model, x)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: check(model, x), range(8)))
    assert all(one.layers == alone.layers for one in found)

"""Runs of different widths in one stack: against separate trainings in plain torch."""

import numpy as np
import pytest
import torch

from birthmark.errors import SpecError
from birthmark.training import MixedTraining, Training, check_mixture
from test_training_equality import (
    OPTIMIZERS,
    STEPS,
    assert_equal_to_plain,
    digits,
    make_spec,
    plain_modules,
    train_plainly,
    train_with_engine,
)

WIDTHS = ((5, 9), (12, 4), (7, 7))


def make_specs(loss="cross_entropy", activation="relu", **training):
    """Runs that differ in all that they may, but for the learning rate."""
    base = make_spec(loss, activation, **training)
    differences = (
        {"run.replicas": 2},
        {"run.seed": 8, "initialization.name": "he_normal"},
        {"run.replicas": 1, "training.batch_order": "shared", "record.epochs": [2]},
    )
    return [
        base.with_settings({"network.widths": list(widths), **different})
        for widths, different in zip(WIDTHS, differences, strict=True)
    ]


def advance(mixed, num_steps):
    stop = mixed.step + num_steps
    while mixed.step < stop:
        mixed.advance(stop - mixed.step)


def plain_results(specs, data, steps=STEPS):
    """Networks of torch.nn, with the start of each run, trained one by one."""
    results = []
    for spec in specs:
        modules = plain_modules(spec, Training(spec, data).initial)
        for replica, module in enumerate(modules):
            train_plainly(spec, module, replica, data, steps)
        results.append(modules)
    return results


def padding_of(mixed):
    """All values of the common tensors that belong to no member."""
    outside = {k: v.clone() for k, v in mixed.parameters.items()}
    start = 0
    for member in mixed.members:
        stop = start + len(member.replicas)
        for name, layer in member.weights.items():
            _, fan_in, fan_out = layer.w.shape
            outside[f"{name}.w"][start:stop, :fan_in, :fan_out] = 0
            outside[f"{name}.b"][start:stop, :fan_out] = 0
        start = stop
    return torch.cat([value.flatten() for value in outside.values()])


GENERAL = [OPTIMIZERS[name] for name in ("all of sgd", "adam with decay")]
PATHS = [
    *(("fast", name, {}) for name in ("relu", "tanh", "gelu", "identity")),
    ("compiled", "relu", {}),
    *(("general", "tanh", optimizer) for optimizer in GENERAL),
]


@pytest.mark.parametrize(("path", "activation", "optimizer"), PATHS)
def test_members_equal_separate_plain_trainings_and_padding_stays_zero(
    path, activation, optimizer
):
    data = digits()
    specs = make_specs("clipped_cross_entropy", activation, **optimizer)
    mixed = MixedTraining(specs, data, path=path)
    assert mixed.path_name == path
    advance(mixed, STEPS)
    for member, modules in zip(mixed.members, plain_results(specs, data), strict=True):
        assert_equal_to_plain(member.weights, modules)
        moved = member.weights["hidden1"].w - member.initial["hidden1"].w
        assert moved.abs().max() > 1e-2
    assert (padding_of(mixed) == 0).all()  # -0 is 0 as well


def test_runs_of_one_stack_may_differ_in_the_learning_rate_of_plain_sgd():
    data, schedule = digits(), {"name": "constant"}
    specs = [
        spec.with_settings({"training.lr": lr})
        for spec, lr in zip(
            make_specs(schedule=schedule), (0.1, 0.03, 0.3), strict=True
        )
    ]
    mixed = MixedTraining(specs, data)
    advance(mixed, STEPS)
    for member, modules in zip(mixed.members, plain_results(specs, data), strict=True):
        assert_equal_to_plain(member.weights, modules)


def test_metrics_of_a_member_are_those_of_its_own_training():
    data = digits()
    specs = [
        spec.with_settings({"record.evaluate_train": True}) for spec in make_specs()
    ]
    mixed = MixedTraining(specs, data)
    alone = [Training(spec, data) for spec in specs]
    for member, other in zip(mixed.members, alone, strict=True):
        assert_metrics_equal(member.metrics_at_start(), other.metrics_at_start())
    for epoch in range(1, 4):
        found = mixed.advance(1000)
        assert sorted(found) == [0, 1, 2]
        for number, other in enumerate(alone):
            assert found[number].epoch == epoch
            assert_metrics_equal(found[number], other.run_epoch())


def assert_metrics_equal(found, expected):
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-10)


@pytest.mark.parametrize(
    "orders",
    [
        [{"batch_order": "shared"}] * 3,
        [{"shuffle_buffer": 20}, {}, {"shuffle_buffer": 7}],
    ],
)
def test_each_member_of_one_seed_keeps_its_own_kind_of_order(orders):
    data = digits()
    specs = [
        make_spec(**order).with_settings({"network.widths": list(widths)})
        for order, widths in zip(orders, WIDTHS, strict=True)
    ]
    mixed = MixedTraining(specs, data)
    advance(mixed, STEPS)
    for spec, member in zip(specs, mixed.members, strict=True):
        alone = train_with_engine(spec, data)
        for name, layer in alone.weights.items():
            torch.testing.assert_close(
                member.weights[name].w, layer.w, rtol=1e-10, atol=1e-12
            )


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}])
def test_nan_freezes_one_replica_of_one_member_alone(optimizer):
    data, specs = digits(), make_specs("mean_squared_error", **optimizer)
    healthy, ill = MixedTraining(specs, data), MixedTraining(specs, data)
    for mixed in (healthy, ill):
        advance(mixed, 4)
    ill.members[0].weights["hidden2"].b[1, 0] = float("nan")
    kept = ill.members[0].weights["hidden1"].w[1].clone()
    for mixed in (healthy, ill):
        advance(mixed, 30)
    assert ill.members[0].nonfinite_step_R.tolist() == [-1, 4]
    assert ill.members[0].weights["hidden1"].w[1].equal(kept)
    assert (
        ill.members[0]
        .weights["hidden1"]
        .w[0]
        .equal(healthy.members[0].weights["hidden1"].w[0])
    )
    for number in (1, 2):
        assert (ill.members[number].nonfinite_step_R == -1).all()
        for name, layer in healthy.members[number].weights.items():
            assert ill.members[number].weights[name].w.equal(layer.w)


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}, OPTIMIZERS["adam"]])
def test_the_same_stack_goes_on_bit_for_bit(optimizer):
    data, specs = digits(), make_specs(**optimizer)
    whole, cut = MixedTraining(specs, data), MixedTraining(specs, data)
    advance(whole, 40)
    advance(cut, 15)
    states = [member.state_dict() for member in cut.members]
    again = MixedTraining(specs, data)
    again.load_state_dicts(states)
    assert again.step == 15
    advance(again, 25)
    for member, expected in zip(again.members, whole.members, strict=True):
        assert_bits_equal(member, expected)


@pytest.mark.parametrize("optimizer", [{}, OPTIMIZERS["adam"]])
def test_members_saved_at_different_steps_go_on_bit_for_bit(optimizer):
    """As after a kill between the checkpoints of two members, one of them done."""
    data, specs = digits(), make_specs(**optimizer)
    whole, cut = MixedTraining(specs, data), MixedTraining(specs, data)
    advance(whole, 40)
    advance(cut, 4)
    early = cut.members[0].state_dict()
    advance(cut, 10)  # into the third epoch
    late = cut.members[1].state_dict()
    again = MixedTraining(specs, data)
    again.load_state_dicts([early, late, None])
    ends = []
    while again.step < 40:
        if ended := again.advance(min(5, 40 - again.step)):
            ends.append(sorted(ended))
    # the end of the second epoch was recorded before the late one was saved at 14
    assert ends == [[0], [0], [0, 1], [0, 1], [0, 1], [0, 1]]
    for number in (0, 1):
        assert_bits_equal(again.members[number], whole.members[number])


def assert_bits_equal(found, expected):
    for name, layer in expected.weights.items():
        assert found.weights[name].w.equal(layer.w)
        assert found.weights[name].b.equal(layer.b)
    (arrays, position), (wanted, there) = found.state_dict(), expected.state_dict()
    assert position == there
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("optimizer", [{}, {"momentum": 0.5}])
def test_a_member_goes_on_alone_or_in_another_stack_to_rounding(optimizer):
    data, specs = digits(), make_specs(**optimizer)
    mixed = MixedTraining(specs, data)
    advance(mixed, 40)
    states = [member.state_dict() for member in mixed.members]
    alone = Training(specs[1], data)
    alone.load_state_dict(*states[1])
    while alone.step < STEPS:
        alone.advance(STEPS - alone.step)
    others = [specs[0], make_spec(**optimizer), specs[2]]
    other = MixedTraining(others, data)
    began = Training(others[1], data)
    other.load_state_dicts([states[0], began.state_dict(), states[2]])
    assert other.step == 0  # the first two wait for the one that has just begun
    advance(other, STEPS)
    expected = plain_results([*specs, others[1]], data)
    assert_equal_to_plain(alone.weights, expected[1])
    for member, wanted in zip(other.members, (0, 3, 2), strict=True):
        assert_equal_to_plain(member.weights, expected[wanted])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.batch_size": 8}, "training.batch_size: .* got 16 and 8"),
        ({"network.widths": [4]}, "network.depth: .* got 2 and 1"),
        ({"network.activation": "tanh"}, "network.activation"),
        ({"training.loss": "mean_squared_error"}, "training.loss"),
        ({"training.momentum": 0.5}, r"training\.momentum: .* got 0\.0 and 0\.5"),
        ({"run.dtype": "float32"}, "run.dtype"),
        ({"data.classes": 5}, "data.classes: .* got null and 5"),
        ({"training.epochs": 7}, "training.epochs"),
    ],
)
def test_what_must_be_equal_is_refused_in_one_line(settings, message):
    specs = [make_spec(), make_spec().with_settings(settings)]
    with pytest.raises(SpecError, match=message) as caught:
        MixedTraining(specs, digits())
    assert "\n" not in str(caught.value)


def test_other_optimizers_than_plain_sgd_need_one_learning_rate():
    specs = [make_spec(momentum=0.5, lr=lr) for lr in (0.1, 0.2)]
    with pytest.raises(SpecError, match=r"training\.lr: .* got 0\.1 and 0\.2"):
        check_mixture(specs)
    check_mixture([make_spec(lr=lr) for lr in (0.1, 0.2)])


def test_an_activation_that_is_not_0_at_0_is_refused_only_where_there_is_padding():
    specs = make_specs(activation="sigmoid")
    with pytest.raises(SpecError, match=r"'sigmoid' is 0\.5 at 0") as caught:
        check_mixture(specs)
    assert "\n" not in str(caught.value)
    check_mixture([s.with_settings({"network.widths": [6, 6]}) for s in specs])


def test_a_member_cannot_move_without_its_stack():
    mixed = MixedTraining(make_specs(), digits())
    with pytest.raises(RuntimeError, match="advance the stack"):
        mixed.members[0].advance(1)

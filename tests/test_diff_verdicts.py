"""What happened between checkpoints of real trainings: named right, or not named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import birthmark as bm
from birthmark.errors import StoreError
from birthmark.report import write_diff


def train(model, steps, lr=0.1, shift=0, decay=0.0):
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
    generator = torch.Generator().manual_seed(steps)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, weight_decay=decay
    )
    for _ in range(steps):
        chosen = torch.randint(len(x), (64,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x[chosen]), (y[chosen] + shift) % 10)
        loss.backward()
        optimizer.step()


def copied(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def states():
    """Of two networks from other starts: before, after 40 steps, at the end, tuned."""
    saved = {}
    for seed, prefix in ((0, ""), (1, "other_")):
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()),
            nn.Linear(128, 10),
        )
        saved[f"{prefix}start"] = copied(model)
        train(model, 40)
        saved[f"{prefix}early"] = copied(model)
        train(model, 400)
        saved[f"{prefix}trained"] = copied(model)
        if not prefix:
            train(model, 150, lr=0.02, shift=1)
        saved[f"{prefix}tuned"] = copied(model)
    return saved


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("start", "early", "trained"),
        ("start", "trained", "trained"),
        ("start", "tuned", "trained"),
        ("trained", "tuned", "continued"),
        ("trained", "start", "reversed"),
        ("start", "other_start", "redrawn"),
        ("start", "other_trained", "unrelated"),
        ("trained", "other_trained", "unrelated"),
        ("trained", "other_start", "unrelated"),
        ("trained", "trained", "identical"),
    ],
)
def test_each_history_is_named_as_it_was(states, first, second, kind):
    compared = bm.diff(states[first], states[second])
    assert compared.verdict.kind == kind
    text = compared.text().lower()
    # modeldelta and weightscope call the first three of these a fine-tune
    assert ("fine-tune" in text) is False
    if kind == "trained":
        assert "from the random start" in compared.verdict.headline
        assert "torch_default" in compared.verdict.headline
    if kind == "continued":
        assert "random start" not in compared.verdict.headline


def test_forty_steps_are_not_called_no_move(states):
    compared = bm.diff(states["start"], states["early"])
    before, after = (
        torch.cat([t.double().ravel() for n, t in states[s].items() if "weight" in n])
        for s in ("start", "early")
    )
    expected = float((after - before).norm() / before.norm())
    assert compared.total.relative_distance.value == pytest.approx(expected)
    assert f"moved by {expected:.3g} of its length" in compared.verdict.headline


def test_a_new_head_on_an_old_body_is_told_from_what_was_trained(states):
    after = dict(states["tuned"])
    after["4.weight"] = 0.1 * torch.randn(10, 128)
    compared = bm.diff(states["trained"], after)
    assert compared.verdict.kind == "continued"
    redrawn = [f for f in compared.verdict.findings if f.name == "redrawn"]
    assert redrawn[0].where == ("4.weight",)
    assert compared.table(1)[1][0][0] == "4.weight"


def test_a_body_drawn_anew_around_one_old_layer_is_no_continuation(states):
    after = states["other_trained"] | {"2.weight": states["tuned"]["2.weight"]}
    compared = bm.diff(states["trained"], after)
    assert compared.verdict.kind == "partly"
    assert "shares 1 of 3" in compared.verdict.headline
    assert "2.weight" in compared.verdict.headline


def test_a_frozen_layer_and_a_layer_of_decay_alone_are_found(states):
    after = dict(states["tuned"])
    after["0.weight"] = states["trained"]["0.weight"]
    after["2.weight"] = states["trained"]["2.weight"] * 0.97
    found = bm.diff(states["trained"], after).verdict.findings
    where = {finding.name: finding.where for finding in found}
    assert where["still"] == ("0.weight",)
    assert where["scaled"] == ("2.weight",)
    decayed = {name: tensor * 0.97 for name, tensor in after.items()}
    assert bm.diff(after, decayed).verdict.kind == "scaled"


@pytest.mark.parametrize(
    "law", ["normal_", "trunc_normal_", "orthogonal_", "xavier_uniform_"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_start_of_any_law_is_seen_as_one(law, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 10))
    for layer in (model[0], model[2]):
        draw = getattr(nn.init, law)
        draw(layer.weight, std=0.05) if "normal" in law else draw(layer.weight)
    start = {n: t.to(dtype) for n, t in copied(model).items()}
    train(model, 150, lr=0.02)
    end = {n: t.to(dtype) for n, t in copied(model).items()}
    assert bm.diff(start, end).verdict.kind == "trained"


def test_vectors_alone_are_not_judged():
    compared = bm.diff({"b": torch.zeros(4)}, {"b": torch.ones(4)})
    assert compared.verdict.kind == "untold"
    assert "too small to tell" in compared.verdict.headline


def test_the_command_says_it_first_and_shows_five_rows(states, tmp_path, birthmark):
    for name in ("start", "trained"):
        save_file(states[name], tmp_path / f"{name}.safetensors")
    files = [str(tmp_path / f"{name}.safetensors") for name in ("start", "trained")]
    page, data = tmp_path / "d.html", tmp_path / "d.json"
    status, out, err = birthmark("diff", *files, "--html", page, "--json", data)
    assert status == 0, err
    first = out.splitlines()[0]
    assert first.startswith("trained.safetensors was trained from the random start")
    assert len(re.findall(r"^ \d\.\w+ ", out, re.M)) == 5
    assert "and 1 more: --all" in out
    _, full, _ = birthmark("diff", *files, "--all")
    assert len(re.findall(r"^ \d\.\w+ ", full, re.M)) == 6
    content = json.loads(data.read_text())
    assert content["schema"] == "birthmark-diff/1"
    assert content["verdict"] == "trained"
    reading = content["tensors"][0]["readings"]["correlation"]
    assert set(reading) == {"value", "redraw", "redraw_std", "noise", "decay"}
    html = page.read_text()
    assert "http://" not in html and "https://" not in html and "<script" not in html
    for name in states["start"]:
        assert name in html


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.safetensors", "b.safetensors"), "there is no file"),
        (("b.safetensors", "c.npz"), "nothing to compare"),
        (("b.safetensors", "b.safetensors", "--html", "no/x.html"), "cannot write"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path, monkeypatch, birthmark, arguments, says
):
    monkeypatch.chdir(tmp_path)
    save_file({"w": torch.ones(3)}, "b.safetensors")
    np.savez("c.npz", other=np.ones(5))
    status, _, err = birthmark("diff", *arguments)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1


def test_a_page_shows_names_of_others_as_text(tmp_path):
    evil = "<script>alert(1)</script>.weight"
    compared = bm.diff({evil: torch.randn(8, 8)}, {evil: torch.randn(8, 8)})
    assert "<script>" not in write_diff(compared, tmp_path / "d.html").read_text()
    assert "<script>" not in compared._repr_html_()
    with pytest.raises(StoreError):
        write_diff(compared, tmp_path)


def test_the_page_and_the_example_run(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parent.parent
    monkeypatch.chdir(tmp_path)
    page = (root / "docs" / "how-to" / "diff.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    example = root / "examples" / "diff_checkpoints.py"
    for program in ("\n".join(programs), example.read_text()):
        exec(compile(program, "page", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert "was trained from the random start step0.safetensors" in said
    assert len(bm.open_store(tmp_path / "runs").runs()) == 1
    # the page shows what the example prints, up to the last digits of a machine
    shown = re.search(r"```text\n(.*?)```", page, flags=re.DOTALL)[1].split()
    rows = ["4.weight", "0.weight", "2.weight"]
    assert [word for word in shown if word.endswith(".weight")] == rows
    assert re.findall(r"^(\d\.weight)", said, re.M) == rows

"""A use of every name of the front door, and what promised rooms are for."""

# by title; each is run after those before it, by a test
USES: dict[str, str] = {
    "Train from a spec": """
import torch

spec = bm.RunSpec(
    data={"name": "digits"},
    network={"widths": [8, 8]},
    training={"epochs": 2},
    run={"replicas": 2},
    record={"distributions": []},  # scalars alone
)
print(bm.estimate_memory(spec))  # before anything is trained
run = bm.run(spec, store="runs")  # trained, measured and stored; there means done

data: bm.Dataset = bm.load_dataset("digits")
start: bm.Weights = bm.initial_configuration(spec)
order = bm.batch_order(spec, replica=0, epoch=0)  # to do the run again elsewhere
for snapshot in bm.train(spec, data):  # without a store
    assert isinstance(snapshot, bm.Snapshot)
""",
    "Sweep and compare": """
grid = bm.Grid.over(spec, {"training.lr": [0.01, 0.1]})
bm.run_grid(grid, store="runs")
published = bm.preset("paper", width=50)  # a spec that has a name
comparison = bm.compare(["he_normal", "lecun_normal"], spec, store="compared")

def train(track, lr):  # any function that trains; `track` makes its tracker
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    tracker = track(model, optimizer)
    for _ in range(3):
        loss = model(torch.randn(8, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss)

outcomes = bm.sweep(train, {"lr": [0.1, 0.2]}, store="mine")
print([outcome.status for outcome in outcomes])
""",
    "Read a store": """
store = bm.open_store("runs")
times = bm.find_transitions(store.records(spec.run_key), spec)
survey: bm.Survey = bm.read_survey(store)  # read once, for all of these
studies: tuple[bm.Study, ...] = tuple(family.study for family in survey.families)
for finding in bm.find_findings(survey):
    print(finding.what)
paths = bm.draw_figures(survey, "figures", formats=["png"])
page = bm.write_report(survey, "report.html")
""",
    "Initialize": """
weights = bm.draw("he_normal", (64, 32), seed=0, tensor="hidden1.w")
kernel = bm.Initializer("he_normal", seed=0, tensor="hidden1.w")  # for Keras and JAX
model = torch.nn.Sequential(
    torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
)
laws = bm.initialize_(model, "he_normal", seed=0)
""",
    "Check a start before the first step": """
x, y = torch.randn(64, 8), torch.randint(2, (64,))
print(bm.check(model, (x, y)).summary())
bm.assert_healthy(model, (x, y), level="error")  # in a test
""",
    "Watch your own training": """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
before = bm.to_parameters(model).clone()
torch.save(model.state_dict(), "step-0.pt")
with bm.Tracker(model, optimizer, store="tracked", name="small") as tracker:
    for _ in range(10):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tracker.log(loss=loss.item())
torch.save(model.state_dict(), "step-10.pt")
""",
    "Compare weights": """
measured = bm.measure(before, model, kind="scalars")  # an xarray.Dataset
key = bm.fingerprint(before)  # of names, dtypes, shapes and bytes
moved = bm.diff("step-0.pt", "step-10.pt")
path = bm.follow(["step-0.pt", "step-10.pt"])
other = bm.part(["step-0.pt", "step-10.pt"], ["step-0.pt", "step-0.pt"])

def evaluate(model):
    return torch.nn.functional.cross_entropy(model(x), y)

back = bm.rewind(model, before, evaluate)  # a layer at a time back to its start
line = bm.interpolate(model, before, evaluate)  # on the straight line from it
layers = bm.transplant(model, before, evaluate)  # a layer at a time of another network
""",
    "Add something of your own": """
from dataclasses import dataclass

from birthmark.analysis import NothingFoundError

def largest(pair: bm.Pair):
    return pair.deviation_RN.abs().amax(1)

@dataclass(frozen=True)
class Laplace:  # what `birthmark.network.Law` asks for
    scale: float
    mean, needs_matrix = 0.0, False
    std = property(lambda law: law.scale * 2**0.5)
    bound = property(lambda law: 4 * law.std)

    def draw(self, generator, shape):
        return generator.laplace(0, self.scale, shape)

def laplace(target, *, gain: float = 2.0):
    return Laplace((gain / target.fan_in / 2) ** 0.5)

def draw_nothing(family):
    raise NothingFoundError("only an example")

bm.register_measurement(largest, long_name="largest deviation", unit="weight")
bm.register_initialization(laplace)
bm.register_figure("nothing", draw_nothing)
try:
    bm.measure({"a": weights}, {"b": weights})
except bm.BirthmarkError as error:  # every error that a user can mend
    print(error)
""",
}

# by room: what it is for; its `__all__` says which names are promised
ROOMS: dict[str, str] = {
    "analysis": ("What `bm.read_survey` finds, for figures and questions of your own."),
    "comparison": ("Boundaries between regimes, followed by training where they lie."),
    "figures": (
        "Drawings as finished numbers, for figures of your own: "
        "[how to](../how-to/measurements-and-figures.md)."
    ),
    "measurements": ("What is measured, by name, and its edges of bins."),
    "network": (
        "Rules by name, the laws that they draw from, residual branches and "
        "parametrizations: [initializations](../concepts/initializations.md)."
    ),
    "statistics": ("Intervals over replicas, and what is still to be read of a mark."),
    "sweeps": ("Where the runs of a sweep are carried out."),
    "tracking": (
        "What a tracker records, when, and whom it tells: [how to](../how-to/track.md)."
    ),
}
FRAMEWORKS = (
    "One file a framework or logging service, each with what "
    "[its row in the table](../how-to/track.md) imports from it."
)

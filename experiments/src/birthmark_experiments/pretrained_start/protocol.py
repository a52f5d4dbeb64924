"""What is learned before, and what after."""

from dataclasses import dataclass
from typing import Any

from birthmark.data import describe_dataset, load_dataset
from birthmark.spec import RunSpec

RANDOM, PRETRAINED, FRESH_HEAD = "random", "pre-trained", "pre-trained, fresh head"
STATISTICS, SHUFFLED = "statistics only", "shuffled"
LEVELS = (0.5, 0.4, 0.3)  # of the loss of a guess, to be reached


@dataclass(frozen=True)
class Task:
    """Something to learn, and something to have learned before."""

    name: str
    before: RunSpec
    after: RunSpec
    num_skipped: int = 0  # classes that belong to `after` and are kept from `before`


@dataclass(frozen=True)
class Protocol:
    """What one scale trains."""

    tasks: tuple[Task, ...]


def list_tasks(scale: str) -> tuple[Task, ...]:
    """The pairs of tasks of a scale, `full` or `quick`."""
    full = scale == "full"
    training = {"loss": "cross_entropy", "lr": 0.05, "batch_size": 32}
    length = {"epochs": 12 if full else 2, "schedule": {"name": "cosine"}}
    tables: dict[str, Any] = {
        "network": {"widths": [128, 128] if full else [8, 8]},
        "training": {**training, **length},
        "run": {"replicas": 10 if full else 3, "device": "cpu"},
        "record": {"distributions": []},
    }
    if scale == "quick":
        half = RunSpec(data={"name": "digits", "classes": 5}, **tables)
        return (Task("digits halves", half, half, num_skipped=5),)
    mnist = RunSpec(data={"name": "mnist", "examples_per_class": 1000}, **tables)
    fashion = RunSpec(
        data={"name": "fashion_mnist", "examples_per_class": 200}, **tables
    )
    share = {"classes": 50, "examples_per_class": 60}
    hasyv2 = RunSpec(
        data={"name": "hasyv2", "preprocessing": "inverted", **share}, **tables
    )
    return (
        Task("MNIST to Fashion-MNIST", mnist, fashion),
        Task("HASYv2, other classes", hasyv2, hasyv2, num_skipped=50),
    )


def describe(tasks: tuple[Task, ...]) -> str:
    """The protocol in words, for captions and the page."""
    spec = tasks[0].after
    training = spec.training
    sizes = []
    for task in tasks:
        data = task.after.data
        dataset = load_dataset(data)
        sizes.append(
            f"{task.name}: {len(dataset.y_train)} training and {len(dataset.y_test)} "
            f"test examples of {dataset.num_classes} classes"
            + (
                f", the first {task.num_skipped}, after as many others"
                if task.num_skipped
                else f", after {describe_dataset(task.before.data).num_train} of the "
                "first set"
            )
        )
    widths = "-".join(map(str, spec.network.widths))
    return (
        f"{'; '.join(sizes)}. Pixels over the full scale (HASYv2 inverted); dense ReLU "
        f"network of widths {widths}; cross-entropy, plain SGD, lr {training.lr:g} "
        "falling to 0 along a cosine, "
        f"batch {training.batch_size}, {training.epochs} epochs in each task; "
        f"{spec.run.replicas} replicas, each pre-trained by itself, paired by the "
        "order of their batches; float32, seed 0."
    )


PROTOCOLS = {scale: Protocol(list_tasks(scale)) for scale in ("full", "quick")}

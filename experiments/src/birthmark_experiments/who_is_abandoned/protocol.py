"""The paper's network of width 150, and when every example is looked at."""

from dataclasses import dataclass, replace

from birthmark.spec import RunSpec
from birthmark.sweeps import reproduction
from ..abandonment.protocol import PROTOCOLS as ABANDONMENT
from ..abandonment.protocol import spec_of

# early, and around the onset often
_KEPT = (5, 10, 20, 160, 200, 250, 300, 350, 400, 450, *range(470, 591, 20))


@dataclass(frozen=True)
class Protocol:
    """What one scale looks at."""

    spec: RunSpec  # its weights are kept at the epochs that are looked at
    early: int  # a kept epoch: who is below the clip by then is so from early on
    without: int  # epochs of training without those that all replicas have below then


def find_protocol(scale: str) -> Protocol:
    """The run of the paper's width 150, or one that takes a second."""
    if scale == "full":
        [spec] = [
            one
            for one in reproduction("laptop")
            if one.data.name == "hasyv2"
            and one.network.widths == (150, 150)
            and one.training.loss == "clipped_cross_entropy"
        ]
        spec = spec.with_settings({"record.weights": _KEPT})
        return Protocol(spec, early=20, without=620)
    small = replace(ABANDONMENT["quick"], epochs=12, every=1)
    spec = spec_of(small, 0.1)
    return Protocol(spec.with_settings({"record.weights": "every"}), 2, without=12)


def describe(spec: RunSpec, num_examples: int, epochs: list[int]) -> str:
    """The protocol in words, for captions and the page."""
    data, training = spec.data, spec.training
    width = spec.network.widths[0]
    pixels = "white background" if data.preprocessing == "unit" else data.preprocessing
    return (
        f"{data.name} ({num_examples} training examples, pixels in [0, 1], {pixels}); "
        f"dense relu network {width}-{width}, Glorot uniform; loss clipped at "
        f"{training.eps:g}, plain SGD, lr {training.lr:g}, batch "
        f"{training.batch_size}; {spec.run.replicas} replicas; {spec.run.dtype}, seed "
        f"{spec.run.seed}. Every training example at epochs "
        f"{', '.join(map(str, epochs))}; run {spec.run_key}."
    )


PROTOCOLS = {scale: find_protocol(scale) for scale in ("full", "quick")}

"""Deep networks as anybody would write them in plain torch: the truth of the tests."""

import numpy as np
import torch
from torch import nn

from birthmark.seeds import stream

ACTIVATIONS = {"relu": nn.ReLU(), "tanh": nn.Tanh()}


class Plain(nn.Module):
    """One replica; its layers are in `layers`, scales of branches in `scales`."""

    def __init__(self, network, weights, replica, shape):
        super().__init__()
        self.network, self.shape = network, shape
        self.act = ACTIVATIONS[network.activation]
        self.conv = network.kind == "convolutional"
        layers = []
        for number, (name, layer) in enumerate(weights.items(), start=1):
            w_OI = layer.w[replica].T
            if self.conv and name != "output":
                k = network.kernel
                kernel = w_OI.reshape(len(w_OI), -1, k, k)
                stride = 2 if number in network.downsample else 1
                one = nn.Conv2d(
                    kernel.shape[1],
                    len(kernel),
                    k,
                    stride,
                    (k - 1) // 2,
                    dtype=w_OI.dtype,
                )
                one.weight = nn.Parameter(kernel.clone())
            else:
                one = nn.Linear(w_OI.shape[1], len(w_OI), dtype=w_OI.dtype)
                one.weight = nn.Parameter(w_OI.clone())
            one.bias = nn.Parameter(layer.b[replica].clone())
            layers.append(one)
        self.layers = nn.ModuleList(layers)
        num_branches = (len(layers) - 2) // network.block
        scale = torch.tensor(network.branch_scale, dtype=weights["output"].w.dtype)
        self.scales = nn.ParameterList(
            nn.Parameter(scale.clone(), requires_grad=network.train_scales)
            for _ in range(num_branches if network.residual != "none" else 0)
        )

    def forward(self, x, masks=None):
        share = self.network.dropout
        masks = iter(masks or [])

        def act(z):
            a = self.act(z)
            mask = next(masks, None)
            return a if mask is None else torch.where(mask, a / (1 - share), 0.0)

        if self.conv:
            x = x.reshape(-1, *self.shape)
        stem, *hidden, head = self.layers
        h = stem(x)
        if self.network.residual == "none":
            for layer in hidden:
                h = layer(act(h))
        else:
            block = self.network.block
            for start in range(0, len(hidden), block):
                branch, number = h, start // block
                for layer in hidden[start : start + block]:
                    branch = layer(act(branch))
                h = self.shortcut(h, branch) + self.scales[number] * branch
        h = act(h)
        if self.conv:
            h = h.mean(dim=(2, 3))
        return head(h)

    def shortcut(self, h, branch):
        wide = torch.zeros_like(branch)
        while self.conv and h.shape[2] > branch.shape[2]:
            h = h[:, :, ::2, ::2]
        wide[:, : h.shape[1]] = h
        return wide


def draw_masks(spec, replica, step, batch_size, shapes):
    """The masks of a step by their documented address."""
    draws = stream(spec.run.seed, replica, "dropout", f"step{step}")
    share = np.float32(spec.network.dropout)
    return [
        torch.tensor(draws.random((batch_size, *shape), dtype=np.float32) >= share)
        for shape in shapes
    ]


def optimizer_of(training, parameters):
    if training.optimizer == "adam":
        return torch.optim.Adam(
            parameters, training.lr, training.betas, training.adam_eps
        )
    return torch.optim.SGD(parameters, training.lr, momentum=training.momentum)

"""Dense relu networks once more, in float64 and by hand, to compare with."""

import math

import numpy as np
import torch

from birthmark.seeds import batch_order


def logits(x, tensors) -> np.ndarray:
    """Of examples x [N, I], by replicas whose w and b follow each other: [R, N, K]."""
    tensors = [np.asarray(one, dtype=float) for one in tensors]
    a = np.broadcast_to(x, (len(tensors[0]), *x.shape))
    for w, b in zip(tensors[::2], tensors[1::2], strict=True):
        z = a @ w + b[:, None]
        a = np.maximum(z, 0)
    return z


def kept(store, key, epoch):
    """The tensors of a run at a kept epoch, w and b in turn."""
    return [t for _, one in store.weights(key, epoch).items() for t in (one.w, one.b)]


def descend(
    spec, dataset, start, replica, epochs, *, center=None, radius=math.inf, every=1
):
    """SGD on the loss of a spec, put back into a ball as one long vector.

    Returns:
        By epoch from 0 on: mean loss, share below the clip, and the parameters.
    """
    x = torch.tensor(dataset.x_train / dataset.full_scale)
    y = torch.tensor(dataset.y_train)
    below = spec.training.eps
    eps = below if spec.training.loss.startswith("clipped") else 0.0
    now = [tensor[replica].double() for tensor in start.values()]
    middle = [tensor[replica].double() for tensor in (center or start).values()]
    found = [(math.nan, math.nan, now)]
    for epoch in range(epochs):
        order = torch.tensor(batch_order(spec.run.seed, replica, epoch, len(y)))
        total, num_below = 0.0, 0
        batches = torch.split(order, spec.training.batch_size)
        for place, batch in enumerate(batches, start=1):
            a = x[batch]
            leaves = [p.detach().requires_grad_() for p in now]
            for w, b in zip(leaves[::2], leaves[1::2], strict=True):
                z = a @ w + b
                a = z.relu()
            p_true = z.softmax(dim=1)[torch.arange(len(batch)), y[batch]]
            loss = -p_true.clamp(eps, 1 - eps).log().mean()
            gradients = torch.autograd.grad(loss, leaves)
            total += loss.item() * len(batch)
            num_below += int((p_true < below).sum())
            lr = spec.training.lr
            now = [p - lr * g for p, g in zip(now, gradients, strict=True)]
            if place % every == 0 or place == len(batches):  # each epoch counts anew
                pairs = list(zip(now, middle, strict=True))
                away = math.sqrt(sum(float((p - m).square().sum()) for p, m in pairs))
                now = [m + (p - m) * min(1, radius / away) for p, m in pairs]
        found.append((total / len(y), num_below / len(y), now))
    return found

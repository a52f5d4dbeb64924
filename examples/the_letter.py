"""A letter that survives training
===============================

Write a letter into the weights before training, and look whether it can still be read
afterwards. In a network that trains well it can: every weight stays close to where it
began.
"""

import matplotlib.pyplot as plt

import birthmark as bm

# %%
# The weights between the two hidden layers are drawn, and those under the letter are
# set to zero. Everything after that is ordinary training.

spec = bm.RunSpec(
    data={"name": "digits", "preprocessing": "inverted"},
    network={"widths": [128, 128]},
    mark={"text": "a"},
    training={"lr": 0.25, "epochs": 100},
    run={"replicas": 3},
    record={"epochs": "log", "distributions": [], "weights": [10, 100]},
)
result = bm.run(spec, store="letter")

# %%
# The weights as pictures, and below each how readable the letter is: the area under
# the ROC curve of "is this weight small?" as a detector of the letter. 1 is perfect,
# 0.5 is gone.

store = bm.open_store("letter")
auc = result.records["mark_auc"].sel(layer="hidden2").isel(replica=0)
auc = auc.swap_dims(step="epoch")
figure, all_axes = plt.subplots(1, 3, figsize=(9, 3.4))
for axes, epoch in zip(all_axes, (0, 10, 100), strict=True):
    w = store.weights(spec.run_key, epoch)["hidden2"].w[0]
    axes.imshow(abs(w), cmap="gray_r", vmin=0, vmax=0.15)
    axes.set_title(f"epoch {epoch}: {float(auc.sel(epoch=epoch)):.2f}")
    axes.set_axis_off()
figure.savefig("letter.png", dpi=120, bbox_inches="tight")

# %%
# How much of the start is left, weight by weight, and how well the network has
# learned:

end = result.records.sel(layer="hidden2").isel(step=-1)
print("correlation with the start:", end["correlation"].values.round(3))
print("test accuracy:             ", end["test_accuracy"].values.round(3))

# %%
# Narrow networks at this learning rate lose what they have learned, and the letter
# with it: ``make demo`` has both side by side, and ``birthmark explore`` lets you
# paint a letter and train under it in the browser.

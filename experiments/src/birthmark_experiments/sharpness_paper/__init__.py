"""Sharpness in the paper's own network: width 150, with the clip and from logits."""

"""The variance of the weights, swept through its critical value."""

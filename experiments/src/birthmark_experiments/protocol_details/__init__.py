"""What the paper does not say of its protocol, tried one detail at a time."""

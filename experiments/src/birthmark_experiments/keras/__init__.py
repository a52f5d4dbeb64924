"""What real Keras does with the clipped loss."""

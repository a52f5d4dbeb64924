"""Could a start without chance do? And what training keeps of a start."""

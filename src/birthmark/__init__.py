"""How far neural-network training travels from its random start."""

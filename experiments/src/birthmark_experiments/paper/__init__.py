"""The paper: its shipped runs, its claims, and how far they agree."""

"""The engine and its peers, timed side by side: each in a process of its own."""

"""A bundle's own Python: its environment, and the processes that run its code in it."""

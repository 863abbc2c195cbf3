"""A bundle's own Python: its environment, and the processes there that run its code.

None of a model's code is imported here, nor anywhere else in the process that serves.
"""

"""What divides the parts of a run among processes: one module for each engine, of which a run loads its own.

Each has ``score(work, tasks, processes)``, which iterates over parts as they are done, in any order, and
over machines that it has refused.
"""

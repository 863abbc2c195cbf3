"""One file for each schema of the catalog after the first: ``to_2.upgrade(op)`` leads from 1 to 2.

A step is never changed once it was in a release, and so says everything itself, whatever ``tables`` says by
now. It only adds: a server of the version before, still running, goes on working until it is restarted.
"""

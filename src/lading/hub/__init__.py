"""The hub: pages over a registry that say what runs, whether it is well, and on whose word.

``knowledge`` and ``views`` are pure: from rows of the catalog to what a page says. ``follower`` reads the
catalog, ``app`` answers browsers, ``api`` gives programs the same as JSON. Calls no server and runs no model.
"""

"""What live traffic says of a model: drift, decay, estimated accuracy, from counts by cell and by window.

The modules below are pure: they read no catalog and no clock.
"""

"""What a model process runs for a model of MLflow, in an environment with MLflow and without lading.

Packing copies their files into bundles; nothing in lading imports them.
"""

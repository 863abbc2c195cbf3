"""Offline scoring of a data set: every row once, or set aside with the reason.

A run is planned from the bytes of its inputs, scored part by part under temporary names, and committed by one
manifest. Serves nothing and releases nothing.
"""

"""The machine that a model runs on: CPUs, memory, the allocator, huge pages, and its fingerprint."""

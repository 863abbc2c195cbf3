"""The machine that a model runs on: processors, memory, allocator, and what names it."""

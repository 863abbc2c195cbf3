"""The prediction log: `writer` is the process that writes it, `reader` what other parts read it by.

Nothing here is imported by a serving process, and nothing of the reader by the writer, which stays small.
"""

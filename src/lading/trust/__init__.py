"""Who states what about a bundle, and who is let in; and what is published against what it consists of.

``keys`` sign and verify, ``envelope`` reads what was signed, ``statement`` says what it means and
``attestation`` is one that was verified; ``policy`` is the file ``trust.toml``, ``judge`` decides by it, and
``gate`` applies it at each place. ``components`` says what a bundle or server consists of, ``sbom`` writes
it, ``feeds`` are read from files, ``scan`` compares both, and ``running_scans`` does so for what runs.
Stores nothing (``registry.attachments`` does), and runs nothing of a bundle.
"""

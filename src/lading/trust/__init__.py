"""Who states what about a bundle, and who is let in: attestations, keys, and the trust policy.

``keys`` sign and verify, ``envelope`` reads what was signed, ``statement`` says what it means and
``attestation`` is one that was verified; ``policy`` is the file ``trust.toml``, ``judge`` decides by it, and
``gate`` applies it at each place.
Stores nothing (``registry.attachments`` does), and runs nothing of a bundle.
"""

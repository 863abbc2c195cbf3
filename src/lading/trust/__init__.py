"""What can be proved of a bundle or an image by others than its packer, and what is known against it.

``attestation`` and what it needs: signatures. ``sbom``, ``feeds`` and ``scan``: what it consists of, which
vulnerabilities are published of that, and what is past its end of life. Knows no server and packs nothing.
"""

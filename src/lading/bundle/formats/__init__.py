"""The formats of bundles: what each number adds, and the rules for it. The common rules are in `manifest`."""

"""The commands: one file each, and a folder for each group of commands."""

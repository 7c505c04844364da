"""Sensors: they start runs automatically, and end lost ones."""

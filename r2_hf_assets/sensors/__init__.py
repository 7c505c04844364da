"""Sensors: what starts and ends runs by itself."""

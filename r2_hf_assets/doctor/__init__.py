"""Looks whether everything that the job needs is there, before it is needed. See finding.py; cli/doctor.py
lists the looks."""

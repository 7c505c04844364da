"""Retries without waits: only their messages are checked here."""

from r2_hf_assets_tests.fault.conftest import short_budgets

__all__ = ["short_budgets"]

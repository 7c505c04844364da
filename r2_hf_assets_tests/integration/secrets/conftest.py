"""Retries that do not wait: what is looked at here is what they say."""

from r2_hf_assets_tests.fault.conftest import short_budgets

__all__ = ["short_budgets"]

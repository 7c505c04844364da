"""Checks before the work that everything it needs is there: collectors gather facts, rules make findings of them."""

"""The project's definitions, with a sign of life each half second, and a lost run told by two looks."""

from r2_hf_assets_tests.integration.quick_definitions import defs

__all__ = ["defs"]

"""Fixtures that several folders share."""

from browsing import browser

__all__ = ["browser"]

"""For all tests: Hypothesis judges what comes out, not how long it took on a machine that may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    """Exact bytes for every step; the sections called ``recorded_*`` come from wireguard-go."""
    vectors: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text())
    return vectors

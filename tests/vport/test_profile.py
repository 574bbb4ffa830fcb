"""What a link asks of its port."""

from __future__ import annotations

import pytest

from vport.errors import SettingsError
from vport.ethernet import Vid
from vport.profile import PortProfile


@pytest.mark.parametrize(
    "wrong",
    [
        {"pvid": Vid(4095)},
        {"tagged": (Vid(0),)},
        {"tagged": (Vid(4095),)},
        {"pvid": Vid(5), "tagged": (Vid(5),)},
        {"max_macs": -1},
    ],
)
def test_contradictory_profile_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        PortProfile(**wrong)  # type: ignore[arg-type]  # what is tested

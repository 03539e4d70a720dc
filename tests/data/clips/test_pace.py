"""Names that tell of pace, and names that only look like it."""

import pytest

from morphmlp.data.clips.pace import why_not_warped

PACES = ["fast", "Running Fast", "slow_down", "slowing-down", "speeds up", "QUICKLY", "decelerating", "braking2"]
CAPITALS_AND_ENDINGS = ["SlowMotion", "RunFast", "SpeedingUp", "slowest", "slowed_down", "speedy", "hurrying"]


@pytest.mark.parametrize("name", [*PACES, *CAPITALS_AND_ENDINGS])
def test_a_name_of_pace_is_found(name: str):
    assert why_not_warped(["waving", name]) == f"{name} tells of pace"


@pytest.mark.parametrize("name", ["breakfast", "fasten seat belt", "quicksand", "rapids", "snowing", "brakeman"])
def test_a_name_that_holds_such_letters_is_none(name: str):
    assert why_not_warped([name]) is None

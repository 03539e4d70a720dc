"""What a left-right flip makes of the classes."""

from importlib.resources import files

import pytest

from morphmlp.data.clips.flips import describe_flips, mirrored_classes, why_not_mirrored

ITSELF = ["clapping", "upright bass", "leftover food", "Brighton", "cleft"]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Turning the camera left while filming", "Turning the camera right while filming"),
        ("moving_left_to_right", "moving_right_to_left"),
        ("Left turn", "Right turn"),
        ("LEFT", "RIGHT"),
        ("TurnLeft", "TurnRight"),
        ("LeftHand", "RightHand"),
        ("swipeLeft", "swipeRight"),
        ("TVLeft", "TVRight"),
        ("leftHand", "rightHand"),
        ("going leftwards", "going rightwards"),
        ("left-handed throw", "right-handed throw"),
        ("lefthand throw", "righthand throw"),
        ("swipe-left", "swipe-right"),
        ("left2", "right2"),
        ("two left hands (left)", "two right hands (right)"),
    ],
)
def test_a_side_becomes_the_other_in_its_case(name: str, other: str):
    assert mirrored_classes(["a", name, "b", other]) == [0, 3, 2, 1]


@pytest.mark.parametrize("name", ["turning left", "from left to right", "Pulling it right out", "Left turn"])
def test_a_class_without_its_mirror_image_is_never_flipped(name: str):
    assert mirrored_classes(["a", name, "turning LEFT", "right turn"])[1] is None


@pytest.mark.parametrize(
    "name",
    [
        "left and right hands",
        "right or left",
        "waving left/right",
        "left_and_right",
        "LeftAndRight",
        "LEFT & RIGHT",
        "L",
    ],
)
def test_a_class_that_names_both_sides_in_no_order_is_its_own_mirror_image(name: str):
    assert mirrored_classes(["a", name]) == [0, 1]


def test_both_sides_in_another_order_are_the_same_class():
    assert mirrored_classes(["left and right, then left", "right and left, then right"]) == [1, 0]


def test_words_that_only_hold_left_or_right_say_no_side():
    assert mirrored_classes(ITSELF) == list(range(5))
    assert describe_flips(ITSELF) is None
    assert mirrored_classes([]) == []


@pytest.mark.parametrize("name", ["ssv1", "ssv2"])
def test_the_published_labels_swap_six_classes(name: str):
    classes = (files("morphmlp.data.sets") / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    partners = mirrored_classes(classes)
    swapped = {number: partner for number, partner in enumerate(partners) if partner not in (None, number)}
    assert len(swapped) == 6
    assert all(swapped[partner] == number for number, partner in swapped.items() if partner is not None)
    assert [classes[number] for number, partner in enumerate(partners) if partner is None] == [
        next(name for name in classes if "pulling it right out" in name)
    ]
    assert (describe_flips(classes) or "").startswith(
        "6 classes swap with their mirror image, 1 is never flipped: Plug"
    )


def test_no_class_of_kinetics_says_a_side():
    classes = (files("morphmlp.data.sets") / "labels" / "k400.txt").read_text(encoding="utf-8").splitlines()
    assert describe_flips(classes) is None


def test_the_line_for_the_log_counts_and_names():
    assert describe_flips(["left", "right"]) == "2 classes swap with their mirror image"
    assert describe_flips(["a left", "b right"]) == "2 are never flipped: a left, b right"


@pytest.mark.parametrize(
    "name",
    [
        *("turn clockwise", "turning_counter-clockwise", "anticlockwise", "spin_CCW", "cw", "heading west", "Eastward"),
        *("TurnClockwise", "SpinCounterClockwise", "turnCW", "CCWTurn", "headEast"),
    ],
)
def test_a_turn_or_a_point_of_the_compass_speaks_against_a_flip(name: str):
    assert why_not_mirrored(["clapping", name]) == f"{name} is another thing in a mirror"


def test_single_characters_speak_against_a_flip():
    assert why_not_mirrored(["A", "B"]) == "the classes look like characters, such as A"


@pytest.mark.parametrize(
    "classes", [[], ["moving left", "moving right"], ["western", "yeast", "clock", "MidWestern"], ["a", "walk"]]
)
def test_other_names_do_not_speak_against_a_flip(classes: list[str]):
    assert why_not_mirrored(classes) is None

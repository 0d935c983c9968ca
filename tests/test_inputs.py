"""Any field of any command set to any value is refused in one sentence, or makes a command.

Commands and fields are those of the table, so that later ones are covered; nothing is run.
"""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subliminal_toy import cli
from subliminal_toy.errors import Count, Positive, UserError, check
from subliminal_toy.experiments import EXPERIMENTS

VALUES = st.one_of(
    st.sampled_from(["-1", "0", "1e300", "nan", "inf", "9" * 30, "", "owl", "--", "[red]", "🦉"]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    # What a command line can hold: no zero byte and no lone surrogate.
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
)
CASES = [
    (command, "--" + field.name.replace("_", "-"))
    for command, kinds in {
        **{name: (type(entry.presets["quick"]),) for name, entry in EXPERIMENTS.items()},
        "reproduce": (cli.Reproduce, cli.Options), "report": (cli.Report,),
        "lessons": (cli.Lessons,),
    }.items()
    for kind in kinds
    for field in fields(kind)
    if field.name not in ("options", "records")
]  # fmt: skip


@pytest.mark.parametrize(("command", "flag"), CASES)
def test_a_value_is_refused_in_a_sentence_or_makes_a_command(command, flag, capsys):
    records = ["record"] if command == "report" else []

    @settings(max_examples=3, deadline=None, derandomize=True, database=None)
    @given(st.lists(VALUES, max_size=2))
    def any_value(values):
        try:
            assert callable(cli.parse([command, *records, flag, *values]))
        except UserError as error:
            assert str(error).startswith("--") and str(error).isprintable()
        except SystemExit as stop:  # tyro has shown what is wrong
            assert stop.code in (0, 2)
        capsys.readouterr()

    any_value()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_preset_says_what_it_sets_and_costs(name):
    presets, about = EXPERIMENTS[name].presets, EXPERIMENTS[name].about
    assert list(about) == list(presets) and "quick" in presets and all(about.values())
    for preset, config in presets.items():
        assert cli.parse([name, "--preset", preset]).config == config


WHOLE = [
    (name, field.name)
    for name, entry in EXPERIMENTS.items()
    for field in fields(entry.presets["quick"])
    if type(getattr(entry.presets["quick"], field.name)) is int
]


@pytest.mark.parametrize(("name", "field"), WHOLE)
@pytest.mark.parametrize("value", [-1, 2**31])
def test_an_absurd_number_is_refused_and_named(name, field, value):
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        replace(EXPERIMENTS[name].presets["quick"], **{field: value})


@dataclass(frozen=True)
class Config:
    count: Count = 1
    rate: Positive = 1.0
    sizes: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=4)] = (2,)
    kind: Literal["a", "b"] = "a"

    def __post_init__(self):
        check(self)


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"count": 2**31}, {"count": 1.5}, {"count": True}, {"rate": 0.0},
     {"rate": float("inf")}, {"rate": float("nan")}, {"rate": 1e39}, {"rate": "fast"},
     {"sizes": ()}, {"sizes": (4, 0)}, {"sizes": (2,) * 5}, {"sizes": 4}, {"kind": "c"}],
    ids=str,
)  # fmt: skip
def test_a_bound_beside_a_field_names_the_option_and_the_value(wrong):
    Config(count=2**31 - 1, rate=3e38, sizes=(1, 2, 3, 4), kind="b")
    ((name, value),) = wrong.items()
    with pytest.raises(UserError) as error:
        Config(**wrong)
    assert str(error.value).startswith(f"--{name} must be ")
    assert str(error.value).endswith(f", not {value}.")

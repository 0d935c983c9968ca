"""Any field of any command set to any value is refused in one sentence, or makes an experiment.

Commands and fields are those of the command line itself, so that later ones are covered. Nothing is
written before an experiment is run; what the runs then do is in ``test_cli`` and ``test_jobs``.
"""

from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subliminal_toy import cli, jobs, machine
from subliminal_toy.errors import UserError
from subliminal_toy.rooms import EXPERIMENTS

NUMBERS = ["-1", "0", "1", "1e30", "1e300", "1e-320", "nan", "inf", "-inf", "2147483648", "9" * 30]
VALUES = st.one_of(
    st.sampled_from([*NUMBERS, "", "text", "owl", "=", "--", "'", "[red]", "\x1b[2J", "🦉"]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    # What a command line can hold: no zero byte and no lone surrogate.
    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
)


def plain(hint):
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def flags(kind: Any) -> list[str]:
    """Return the flags of a command, those of its config and its options among them."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name not in {field.name for field in fields(kind)}:
            continue
        inner = plain(hint)
        found += flags(inner) if is_dataclass(inner) else ["--" + name.replace("_", "-")]
    return found


COMMANDS = {command.__name__: command for command in map(plain, get_args(cli.subcommands("quick")))}
NAMES = {"Reproduce": "reproduce", "Report": "report", "Lessons": "lessons"}
CASES = [(NAMES.get(name, name), flag) for name, kind in COMMANDS.items() for flag in flags(kind)]


def test_every_command_and_every_field_is_found():
    assert {name for name, _ in CASES} == {*EXPERIMENTS, *NAMES.values()}
    for name, room in EXPERIMENTS.items():
        of_config = {"--" + field.name.replace("_", "-") for field in fields(room.config)}
        common = {"--out", "--seed", "--resume", "--yes", "--quiet", "--preset"}
        assert {flag for command, flag in CASES if command == name} >= of_config | common


def outcome(arguments):
    """Return the command that the arguments make, or the sentence or status that refuses them."""
    try:
        return cli.parse(arguments)
    except UserError as error:
        return str(error)
    except SystemExit as stop:  # tyro has shown what is wrong
        return stop.code


@pytest.mark.parametrize(("command", "flag"), CASES, ids=" ".join)
def test_a_value_is_refused_in_a_sentence_or_makes_an_experiment(
    command, flag, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "speed", lambda: 1e11)

    @settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(VALUES, max_size=2))
    def one(values):
        found = outcome([command, *(["record"] * (command == "report")), flag, *values])
        capsys.readouterr()
        if isinstance(found, str):
            assert found and "\n" not in found and found.isprintable()
        elif isinstance(found, cli.Run):
            check_run(found, tmp_path)
        else:
            assert found in (0, 2) or callable(found)
        assert not list(tmp_path.iterdir())

    one()


def check_run(run, folder):
    """A config that is accepted makes an experiment, or one sentence says why not."""
    try:
        assert run.config.needs().memory > 0 and run.config.needs().work > 0
        machine.refuse_too_large(run.config, EXPERIMENTS[run.name].presets)
        machine.refuse_too_long(run.config, EXPERIMENTS[run.name].presets)
        jobs.check_folder(folder / "out", resume=False)
    except UserError as error:
        assert "--" in str(error) and str(error).isprintable()


# ---------- what a run needs ----------

HUGE = 2**31 - 1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_preset_is_neither_too_large_nor_too_long(name, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 8e9)
    monkeypatch.setattr(machine, "speed", lambda: 1e11)
    for config in EXPERIMENTS[name].presets.values():
        machine.refuse_too_large(config, EXPERIMENTS[name].presets)
        machine.refuse_too_long(config, EXPERIMENTS[name].presets)


WHOLE = [
    (name, field.name)
    for name, room in EXPERIMENTS.items()
    for field in fields(room.config)
    if plain(get_type_hints(room.config, include_extras=True)[field.name]) is int
]


@pytest.mark.parametrize(("name", "field"), WHOLE)
def test_a_huge_number_is_refused_and_named(name, field, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 64e9)
    monkeypatch.setattr(machine, "speed", lambda: 1e11)
    presets = EXPERIMENTS[name].presets
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        config = replace(presets["quick"], **{field: HUGE - HUGE % 8})
        machine.refuse_too_large(config, presets)
        machine.refuse_too_long(config, presets)


def test_a_seed_has_64_bits_and_each_counts():
    seen = set()
    for seed in (0, 1, 2**32, 2**32 + 1, 2**64 - 1):
        key = jobs.key_of(seed)
        seen.add(tuple(jax.random.key_data(key).tolist()))
        if seed < 2**32:
            assert (jax.random.key_data(key) == jax.random.key_data(jax.random.key(seed))).all()
    assert len(seen) == 5
    for seed in (-1, 2**64):
        with pytest.raises(UserError, match="--seed"):
            cli.Options(seed=seed)


@pytest.mark.parametrize(
    "arguments", [["--out", ""], ["--out="], ["--data-dir", ""], ["--readme="], [""]]
)
def test_an_empty_value_is_named(arguments):
    with pytest.raises(UserError, match="empty"):
        cli.parse(["classifier", *arguments])


def test_the_traits_that_there_are_are_listed(capsys):
    with pytest.raises(SystemExit):
        cli.parse(["lm", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    traits = get_type_hints(EXPERIMENTS["lm"].config)["traits"]
    (names,) = (get_args(one) for one in get_args(traits) if get_origin(one) is Literal)
    assert all(name in shown for name in names)

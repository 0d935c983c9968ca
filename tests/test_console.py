"""What a terminal gets: progress, the time that is left, texts of others as text."""

import re

import pytest
import toy

from subliminal_toy import console
from subliminal_toy.claims import Claim, Judgement, Verdict
from subliminal_toy.errors import UserError, printable
from subliminal_toy.stats import Estimate

EVIL = "\x1b[2J\x1b]0;title\x07 [bold]x[/bold] [link=http://e.invalid]y[/link] \u202egnp\r\n\x9b31m"


def test_what_cannot_be_printed_is_shown_as_an_escape():
    assert printable("a\x1b[31m\tb\r\nc\u202e\udcff") == "a\\x1b[31m b c\\u202e\\udcff"
    assert printable("α − β “x” 数") == "α − β “x” 数"
    assert str(UserError("one\ntwo\x07")) == "one two\\x07"


def test_the_table_has_the_first_estimate_its_n_and_the_verdict_with_its_reason(capsys):
    estimates = (Estimate(0.5, 0.25, 0.75, 12), Estimate(9.0, 8.0, 9.5, 34))
    claim = Claim("Y3", "[bold]a[/bold]", "s", toy.above(0.0))
    judgement = Judgement(claim, estimates, Verdict.NOT_TESTED, "n = 12")
    console.show_claims({EVIL: [judgement]})
    shown = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    words = " ".join(shown.replace("│", " ").split())
    assert "[bold]a[/bold]" in words and "0.50 [0.25, 0.75] 12 not tested: n =" in words
    assert "34" not in words and "x: interval above 0" in words


@pytest.mark.parametrize("quiet", [True, False])
def test_piped_progress_is_a_line_for_each_twentieth_of_all_the_work(capsys, quiet):
    with console.progress({"one": 1.0, "two": 3.0}, quiet) as statuses:
        for fraction in (0.0, 0.01, 0.5, 1.0):
            statuses["one"](fraction, "a\x1b")
        statuses["two"](1.0, "finished")
    lines = capsys.readouterr().err.splitlines()
    expected = [("0%", "one: a\\x1b"), ("12%", "one: a\\x1b"), ("25%", "one: a\\x1b"),
                ("100%", "two: finished")]  # fmt: skip
    assert len(lines) == (0 if quiet else 4)
    for line, (percent, what) in zip(lines, expected, strict=not quiet):
        assert line.split()[0] == percent and line.endswith(f"  {what}")


def test_the_time_left_counts_what_was_computed_and_not_what_was_stored(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    with console.progress({"lm": 1.0}, quiet=False) as statuses:
        for fraction in (0.5, 0.75, 0.875):
            statuses["lm"](fraction, "part")
            now[0] += 3_600
    lines = capsys.readouterr().err.splitlines()
    assert "left" not in lines[0]
    assert "1:00:00 left" in lines[1] and "0:40:00 left" in lines[2]


@pytest.mark.parametrize("n", [2, 20])
def test_every_mean_is_shown_in_a_table_or_where_it_would_be_too_wide_in_a_list(n, capsys):
    labels = [f"{arm}, {column}" for arm in ("student", "control") for column in range(n)]
    console.show_estimates("gain", {x: Estimate(0.5, 0, 1, 4) for x in labels})
    rows = [row for row in capsys.readouterr().out.splitlines() if "0.50" in row]
    assert sum(row.count("0.50") for row in rows) == 2 * n
    assert len(rows) == (2 if n == 2 else 2 * n)
    assert n == 2 or all(any(label in row for row in rows) for label in labels)

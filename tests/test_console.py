"""What a terminal gets: texts of others as text, letters that it has, the time that is left."""

import re
import subprocess
import sys
from pathlib import Path

import page_records
import pytest

from subliminal_toy import console
from subliminal_toy.errors import UserError, printable

EVIL = "\x1b[2J\x1b]0;title\x07 [bold]x[/bold] [link=http://e.invalid]y[/link] \u202egnp\r\n\x9b31m"


def test_what_cannot_be_printed_is_shown_as_an_escape():
    assert printable("a\x1b[31m\tb\r\nc\u202e\udcff") == "a\\x1b[31m b c\\u202e\\udcff"
    assert printable("α − β “x” 数") == "α − β “x” 数"
    assert str(UserError("one\ntwo\x07")) == "one two\\x07"


def test_a_record_cannot_write_to_the_terminal_but_text(tmp_path, capsys):
    record = page_records.classifier_record(tmp_path)
    fields = dict.fromkeys(("id", "statement", "criterion", "reason", "verdict"), EVIL)
    claims = [{**record.summary["claims"][0], **fields}]
    summary = {**record.summary, "claims": claims, "dataset": EVIL}
    console.show_claims({EVIL: record._replace(summary=summary)})
    out = capsys.readouterr().out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
    assert "[bold]" in out and "\\x1b" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_utf8_loses_letters_and_nothing_else(encoding):
    code = (
        "from subliminal_toy import console; console.degrade_gracefully(); "
        "console.say('−0.5 [0–1] ε 数 |'); "
        "import sys; sys.stdout.flush(); console.warn('×'); console.fail('‖θ‖ 数', 7)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code],
        env={"PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
    )
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 7 and "Traceback" not in err
    if encoding == "ascii":
        assert out == "-0.5 [0-1] epsilon ? |\n"
        assert err == "subliminal-toy: x\nsubliminal-toy: ||theta|| ?\n"
    if encoding == "utf-8":
        assert out == "−0.5 [0–1] ε 数 |\n" and "‖θ‖ 数" in err


def test_the_time_left_counts_only_what_was_computed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    left = console.TimeLeft()
    assert left(0.5, counts=False) is None  # found finished
    now[0] += 10
    assert left(0.6, counts=True) == pytest.approx(40)
    assert left(0.8, counts=False) == pytest.approx(20)


def test_lines_tell_the_number_of_parts_and_the_first_estimate(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.display({"lm": 1.0}, quiet=False) as statuses:
        for fraction, label in ((0.0, "starting"), (0.0, "900 of 900 parts to compute"), (0.0, "a"),
                                (0.001, "b"), (0.002, "c"), (0.003, "d")):  # fmt: skip
            statuses["lm"](fraction, label)
            now[0] += 60
    lines = capsys.readouterr().err.splitlines()
    assert "900 of 900 parts to compute" in lines[1]
    assert len(lines) == 4 and "about 2 days left" in lines[3] and lines[3].endswith("lm: b")


def test_signals_say_the_sentence_and_tidy_up(monkeypatch):
    said, interruption = [], console.Interruption()

    def fail(*how):
        said.append(how)
        raise SystemExit

    monkeypatch.setattr(console, "fail", fail)
    interruption.tidy = lambda: said.append("tidied")
    interruption.sentence = "Go on."
    with pytest.raises(SystemExit):
        interruption.end(15, None)
    assert said == ["tidied", ("Go on.", 143)]


def test_a_command_answers_signals_while_it_computes():
    """The main thread waits; what the command's thread raises comes out of it."""
    with pytest.raises(UserError, match="no"):
        console.answering_signals(lambda: (_ for _ in ()).throw(UserError("no")))
    assert console.answering_signals(lambda: 5) == 5

"""The command line: in this process, and three times as a user meets it, in one of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toy

from subliminal_toy import cli, experiments, report

TOY = [sys.executable, str(Path(toy.__file__)), "toy"]


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Return a function of arguments that gives status, standard output and standard error."""
    toy.register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "start_jax", lambda options: None)  # it has begun to compute

    def end(status):
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", end)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["subliminal-toy", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return exited.value.code, *capsys.readouterr()

    return run


def test_a_run_leaves_a_record_and_a_figure_and_shows_its_claims(command):
    status, out, err = command("toy", "--n", "5", "--out", "o", "--seed", "7")
    assert status == 0, err
    loaded = experiments.load(Path("o"))
    assert {path.name for path in Path("o").iterdir()} == {
        "record.nc", "summary.json", "manifest.json", "values.svg",
    }  # fmt: skip
    assert loaded.data.sizes["replicate"] == 10 and loaded.manifest["seed"] == 7
    assert loaded.manifest["command"] == "toy --n 5 --out DIR --seed 7"
    assert all(word in out for word in ("Y1", "reproduced", "Y2", "did not hold", "figures: o"))
    mean = f"{float(loaded.data.x.mean()):.2f}"
    assert re.search(rf"all +│ {re.escape(mean)}", out) and "report o --out page" in out
    assert "part/2" in err and "\x1b" not in out + err


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_a_preset_gives_the_values_that_single_flags_override(command, preset):
    expected = experiments.EXPERIMENTS["toy"].presets[preset]
    assert cli.parse(["toy", "--preset", preset]).config == expected
    assert cli.parse(["toy", f"--preset={preset}", "--shift", "2"]).config == toy.ToyConfig(
        n=expected.n, shift=2.0
    )


def test_resume_begins_goes_on_and_shows_what_is_finished(command):
    for _ in range(2):
        status, out, _ = command("toy", "--out", "o", "--resume")
        assert status == 0 and "Y1" in out
    status, out, err = command("toy", "--out", "o")
    assert (status, out) == (1, "") and "o holds a finished record" in err
    status, out, err = command("toy", "--out", "o", "--resume", "--shift", "2")
    assert (status, out) == (1, "") and "other settings (config)" in err
    status, _, err = command("toy", "--resume")
    assert status == 1 and "--out" in err


def test_a_record_is_saved_before_a_bug_of_a_figure_shows_itself(command, monkeypatch):
    monkeypatch.setattr(toy, "draw", lambda data: data.y)
    toy.register(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["", "toy", "--out", "o"])
    with pytest.raises(AttributeError):
        cli.main()
    assert experiments.load(Path("o")).data.sizes["replicate"] == 6


def test_reproduce_shows_what_its_presets_can_decide_and_ends_with_0(command):
    status, out, err = command("reproduce", "--out", "r")
    assert status == 0, err
    assert out.count("Y1") == 2 and "did not hold" not in out
    assert "--preset paper): Y2." in out
    assert {path.name for path in Path("r").iterdir()} == {"one", "two", "index.html"}
    assert experiments.load(Path("r/two")).data.sizes["replicate"] == 8
    status, again, _ = command("reproduce", "--out", "r", "--resume")
    assert (status, again) == (0, out)


@pytest.mark.parametrize("broken", [True, False])
def test_strict_ends_with_3_if_a_claim_of_the_paper_is_not_reproduced(command, monkeypatch, broken):
    if broken:
        quick = toy.ToyConfig(shift=-1.0)
        monkeypatch.setitem(experiments.EXPERIMENTS["toy"].presets, "quick", quick)
    assert command("reproduce", "--out", "r", "--strict", "--quiet") == (3 * broken, "", "")
    assert command("reproduce", "--out", "r", "--resume", "--quiet")[0] == 0


def test_report_writes_where_out_says_and_nowhere_else(command, monkeypatch):
    for name in ("one", "two"):
        assert command("toy", "--out", f"figures/{name}", "--quiet") == (0, "", "")
    Path("docs").mkdir()
    Path("docs/text.md").write_text("a")
    monkeypatch.setattr(report, "update_blocks", lambda text, records: text + " ".join(records))
    drawn = Path("figures/one/values.svg")
    figure = drawn.read_bytes()
    before = {p: p.stat().st_mtime_ns for p in Path("figures").rglob("*")}
    status, out, _ = command("report", "figures", "--out", "page", "--readme", "docs/text.md")
    assert status == 0 and "Y1 reproduced" in out and len(out.splitlines()) < 12
    assert {p: p.stat().st_mtime_ns for p in Path("figures").rglob("*")} == before
    assert Path("page/one/values.svg").read_bytes() == figure
    assert Path("page/index.html").read_text() == "one two"
    assert Path("docs/text.md").read_text() == "a../figures/one ../figures/two"
    drawn.unlink()
    assert command("report", "figures/one")[0] == 0 and not drawn.exists()
    assert command("report", "figures", "--out", "figures")[0] == 0
    assert drawn.read_bytes() == figure


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["toy", "--n", "0"], "--n must be"),
        (["toy", "--seed", str(2**32)], "--seed must be"),
        (["toy", "--replicates-per-device", "0"], "--replicates-per-device must be"),
        (["toy", "--out", "file"], "file is not a folder"),
        (["toy", "--out", "file/in"], "Not a directory"),
        (["reproduce", "--out", "full"], "holds other files"),
        (["classifier", "--data", "mnist", "--data-dir", "nowhere"], "is not a directory"),
        (["report", "nowhere"], "nowhere holds no finished record"),
        (["report", "."], "holds no finished record"),
    ],
)
def test_bad_input_gets_one_sentence_and_nothing_is_written(command, arguments, sentence):
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    before = sorted(Path().rglob("*"))
    status, out, err = command(*arguments)
    assert (status, out) == (1, "") and sentence in err
    (line,) = err.splitlines()
    assert line.startswith("subliminal-toy: ")
    assert [path for path in sorted(Path().rglob("*")) if path not in before] in (
        [], [Path("runs")],
    )  # fmt: skip


@pytest.mark.parametrize(
    "given", ["toy --shift many", "toy --preset huge", "dance now", "toy --m 3"]
)
def test_arguments_that_cannot_be_read_are_shown(command, given):
    status, _, err = command(*given.split())
    assert status == 2 and any(word in err for word in given.split()[-2:])
    assert not list(Path().iterdir())


def test_without_a_command_it_shows_where_to_begin(command):
    status, out, _ = command()
    assert status == 0 and "subliminal-toy reproduce" in out


def test_a_command_is_shown_without_the_folders_of_its_machine():
    given = ["lm", "--out", "/home/a b", "--data-dir=/x", "--seed", "1", "--out"]
    assert cli.shown(given) == "lm --out DIR --data-dir=DIR --seed 1 --out"


# ---------- processes ----------


def test_an_interrupted_run_says_at_once_how_to_go_on_and_a_killed_one_does(tmp_path):
    out = tmp_path / "o"
    start = {"stderr": subprocess.PIPE, "text": True}
    command = [*TOY, "--out", str(out)]
    with subprocess.Popen(command, env=os.environ | {"TOY_WAIT": "part/2"}, **start) as process:
        next(line for line in process.stderr if "part/2" in line)
        process.send_signal(signal.SIGINT)
        (sentence,) = process.stderr.read().splitlines()
    assert process.returncode == 130
    assert sentence.endswith(f"Continue with: subliminal-toy toy --out {out} --resume")
    killed = subprocess.run([*command, "--resume"], env=os.environ | {"TOY_KILL": "part/2"})
    assert killed.returncode == -signal.SIGKILL and not (out / "manifest.json").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "part 1" not in done.stderr
    assert (out / "manifest.json").exists()

"""The command line as a user meets it: in a process of its own."""

import json
import shutil
import signal
import subprocess
import sys

import pytest

from subliminal_toy import records

COMMAND = [sys.executable, "-m", "subliminal_toy"]
TINY = ["classifier", "--hidden-sizes", "16", "--teacher-epochs", "1", "--student-epochs", "1",
        "--n-inputs", "256", "--n-replicates", "8"]  # fmt: skip


def run(*arguments, **kwargs):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, **kwargs)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "tiny"
    done = run(*TINY, "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done


def test_a_run_leaves_a_record_a_figure_and_its_claims(record):
    out, done = record
    assert {path.name for path in out.iterdir()} == {
        "record.nc", "params.safetensors", "summary.json", "manifest.json", "accuracy.svg",
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["experiment"] == "classifier" and summary["dataset"] == "digits"
    assert set(summary["conditions"]) == {
        "untrained", "teacher", "student_aux", "student_all", "cross_aux", "cross_all",
    }  # fmt: skip
    assert summary["conditions"]["teacher"]["n"] == 8
    assert [claim["id"] for claim in summary["claims"]] == ["M1", "M2"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["n_inputs"] == 256 and manifest["seed"] == 0
    assert manifest["command"] == " ".join([*TINY, "--out", "DIR"])
    assert all(word in done.stdout for word in ("M1", "verdict", str(out)))
    assert "\x1b" not in done.stdout + done.stderr


def test_report_draws_the_same_bytes_from_the_record(record):
    figure = record[0] / "accuracy.svg"
    before = figure.read_bytes()
    figure.unlink()
    assert run("report", str(record[0])).returncode == 0
    assert figure.read_bytes() == before


def test_a_killed_run_resumes_to_the_same_bits(record, tmp_path, monkeypatch):
    # The killed run fills a user's cache, the resumed one reads it: not the tests', for the bits
    # must not hang on it.
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "killed"
    with subprocess.Popen([*COMMAND, *TINY, "--out", str(out)], stderr=subprocess.PIPE) as process:
        # Progress lines tell when a chunk is behind it.
        for line in process.stderr:
            if b"replicates 5" in line:
                break
        process.kill()
    assert not (out / "manifest.json").exists()
    refused = run(*TINY, "--out", str(out))
    assert refused.returncode == 1 and "--resume" in refused.stderr
    other = run(*TINY, "--out", str(out), "--resume", "--seed", "1")
    assert other.returncode == 1 and "with other settings" in other.stderr
    resumed = run(*TINY, "--out", str(out), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("record.nc", "params.safetensors"):
        assert (out / name).read_bytes() == (record[0] / name).read_bytes()
    assert json.loads((out / "manifest.json").read_text())["resumed"]
    assert not (out / "unfinished").exists()


@pytest.mark.parametrize("phase", ["starting", "replicates 5"])  # while JAX is imported, and later
def test_an_interrupted_run_says_how_to_go_on(phase, tmp_path):
    command = [*COMMAND, *TINY, "--out", str(tmp_path / "o")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr if phase in line)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143  # 128 + SIGTERM
    assert "Traceback" not in rest
    whole = [line for line in rest.splitlines() if line.startswith("subliminal-toy: Interrupted")]
    resume = " ".join(["subliminal-toy", *TINY, "--out", str(tmp_path / "o"), "--resume"])
    assert whole == [
        f"subliminal-toy: Interrupted; finished parts are kept. Continue with: {resume}"
    ]


def test_a_full_disk_is_one_sentence_and_nothing_half_written(tmp_path):
    # A limit of four blocks for any file stands for a full disk.
    limited = ["sh", "-c", 'ulimit -f 4 && exec "$@"', "sh", *COMMAND, *TINY]
    done = subprocess.run([*limited, "--out", str(tmp_path / "o")], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "o").rglob("*.part"))
    assert not (tmp_path / "o" / "manifest.json").exists()


def test_a_finished_record_is_neither_overwritten_nor_computed_again(record):
    before = (record[0] / "manifest.json").read_bytes()
    refused = run(*TINY, "--out", str(record[0]))
    assert refused.returncode == 1 and "already holds a finished record" in refused.stderr
    again = run(*TINY, "--out", str(record[0]), "--resume")
    assert again.returncode == 0 and "M1" in again.stdout
    assert (record[0] / "manifest.json").read_bytes() == before


REPRODUCE = """
import sys
from dataclasses import replace
from subliminal_toy import cli
room = cli.EXPERIMENTS["classifier"]
tiny = replace(room.presets["quick"], hidden_sizes=(16,), n_replicates=2, n_inputs=256,
               teacher_epochs=1, student_epochs=1)
cli.EXPERIMENTS["classifier"] = room._replace(presets={"quick": tiny})
cli.main()
"""


def test_reproduce_says_with_its_status_that_a_claim_is_not_reproduced(tmp_path):
    out = tmp_path / "r"
    command = [
        sys.executable,
        "-c",
        REPRODUCE,
        "reproduce",
        "--only",
        "classifier",
        "--out",
        str(out),
    ]
    # One epoch teaches nobody anything.
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 3, first.stderr
    assert "not reproduced" in " ".join(first.stdout.replace("│", " ").split())
    page = (out / "report.html").read_bytes()
    again = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert again.returncode == 3 and (out / "report.html").read_bytes() == page
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "already holds a finished record" in refused.stderr


def test_report_takes_a_folder_of_records_and_rewrites_a_readme(record, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(record[0], tmp_path / "figures" / name)
    readme = tmp_path / "README.md"
    readme.write_text(
        "a\n<!-- claims -->\n<!-- /claims -->\n<!-- published -->\n<!-- /published -->\n"
    )
    arguments = ["report", str(tmp_path / "figures"), "--readme", str(readme)]
    assert run(*arguments).returncode == 0
    text = readme.read_text()
    assert text.startswith("a\n") and text.count("| M1 |") == 2
    assert "(figures/one/accuracy.svg)" in text and "(figures/two/)" in text
    assert (tmp_path / "figures" / "report.html").is_file()
    assert run(*arguments).returncode == 0 and readme.read_text() == text
    readme.write_text("no markers")
    refused = run(*arguments)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert readme.read_text() == "no markers"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["classifier", "--n-replicates", "0"], "--n-replicates must be at least 1, not 0."),
        (["classifier", "--hidden-sizes"], "--hidden-sizes must be"),
        (["classifier", "--learning-rate", "0"], "--learning-rate must be above 0"),
        (["classifier", "--data", "mnist", "--data-dir", "nowhere"], "nowhere is not a directory"),
        (
            ["classifier", "--architecture", "cnn", "--hidden-sizes", "8"],
            "at least one convolution",
        ),
        (["lm", "--n-replicates", "0"], "--n-replicates must be at least 1"),
        (["lm", "--traits", "owl", "owl"], "--traits must be different values, not owl owl."),
        (["lm", "--seed", str(2**64)], "--seed must be 0 to 18446744073709551615"),
        (["lm", "--replicates-per-device", "0"], "--replicates-per-device must be at least 1"),
        (["lm", "--distributed"], "--distributed finds no other process"),
        (["theorem", "--n-trials", "0"], "--n-trials must be at least 1"),
        (["report", "nowhere"], "nowhere holds no finished record"),
        (["report"], "at least one directory"),
    ],
)
def test_bad_input_gets_one_sentence_and_a_status(arguments, sentence, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode not in (0, 3) and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("subliminal-toy:")]
    assert sentence in line
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize(
    "arguments",
    [["classifier", "--data", "cifar"], ["classifier", "--n-replicates", "many"],
     ["classifier", "--preset", "huge"], ["dance", "now"], ["lm", "--traits", "unicorn"],
      ["classifier", "--n-replicats", "3"]],
)  # fmt: skip
def test_arguments_that_cannot_be_read_are_shown(arguments, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert arguments[-1] in done.stderr or arguments[-2] in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_every_preset_parses_and_single_flags_override_it(preset):
    done = run("classifier", "--preset", preset, "--n-aux", "7", "--help")
    assert done.returncode == 0
    expected = {"quick": "(default: digits)", "paper": "(default: mnist)"}[preset]
    assert expected in " ".join(done.stdout.split())


def test_a_quiet_run_is_quiet(tmp_path):
    arguments = [*TINY, "--n-replicates", "1", "--quiet", "--out", str(tmp_path / "q")]
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert records.load(tmp_path / "q").data.accuracy.shape == (1, 6)


def test_a_diverged_run_says_so_with_a_status_of_its_own_and_tests_nothing(tmp_path):
    done = run(*TINY, "--learning-rate", "1e30", "--out", str(tmp_path / "d"))
    assert done.returncode == 4 and "Traceback" not in done.stderr
    assert "8 of 8 replicates diverged" in done.stderr.splitlines()[-1]
    table = " ".join(done.stdout.replace("│", " ").split())
    assert "reproduced" not in table and table.count("not tested") == 2

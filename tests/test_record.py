"""A run ends in the same record wherever it was interrupted; a record is whole, or says why not."""

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import toy
import xarray as xr

from subliminal_toy import claims, cli, experiments, record
from subliminal_toy.claims import Row
from subliminal_toy.errors import UserError
from subliminal_toy.stats import Estimate

FILES = (record.RECORD, record.PARAMS, record.SUMMARY, record.MANIFEST)
IDENTITY = {"experiment": "toy", "config": {"n": 3}, "seed": 0}
ORIGIN = {"commit": "a", "dirty": False}


@pytest.fixture(autouse=True)
def table(monkeypatch):
    toy.register(monkeypatch)


def compute(out, **options):
    options = cli.Options(**{"out": out, "resume": True, "keep_params": True, **options})
    return cli.run(cli.Job("toy", toy.ToyConfig(), out), options, record.silent)


# ---------- the runner and its store ----------


def test_what_is_stored_is_not_computed_again_and_the_status_is_the_share_of_the_work():
    whole, told = toy.experiment(toy.ToyConfig(), None, None), []
    stored = {}
    first = record.run(whole, stored, lambda *status: told.append(status))
    assert told == [(0.0, "part 1"), (0.25, "part/2"), (1.0, "finished")]
    assert set(stored) == set(toy.NAMES)
    stored["part 1"] = {"x": 100 + np.zeros(5)}  # another length, which the second part reads
    del stored["part/2"]
    again = record.run(whole, stored)
    np.testing.assert_allclose(again.data.x[:5], 100)
    np.testing.assert_allclose(again.data.x[5:], 1 + np.sin([5, 6, 7]), rtol=1e-6)
    np.testing.assert_allclose(first.data.x, 1 + np.sin(np.arange(6)), rtol=1e-6)


class Stop(BaseException):
    """Not even tidied up after."""


TIMES = rb'"(wall_s|seconds|summary\.json)": [^,\n]*'


def content(folder):
    """Return what a folder holds, but for times and the hashes that depend on them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): re.sub(TIMES, b"", p.read_bytes()) for p in paths}


def test_a_run_that_ends_before_or_after_any_file_resumes_to_the_same_record(tmp_path, monkeypatch):
    compute(tmp_path / "whole")
    expected, real = content(tmp_path / "whole"), os.replace
    assert set(expected) == {*FILES, "values.svg"}
    moves = 0

    def stopping(at):
        done = iter(range(100))

        def replace(source, target):
            nonlocal moves
            moves = next(done)
            if 2 * moves == at:
                raise Stop
            real(source, target)
            if 2 * moves + 1 == at:
                raise Stop

        return replace

    for at in range(16):
        out = tmp_path / str(at)
        monkeypatch.setattr(os, "replace", stopping(at))
        with pytest.raises(Stop):
            compute(out)
        assert (out / record.MANIFEST).exists() == (at > 12)
        monkeypatch.setattr(os, "replace", real)
        compute(out)
        assert content(out) == expected, at
    monkeypatch.setattr(os, "replace", stopping(-1))
    compute(tmp_path / "again")
    assert moves == 7  # all of them were tried


@pytest.fixture
def store(tmp_path):
    store = record.Store(tmp_path, IDENTITY, ORIGIN)
    store["a/b"] = {"x": np.arange(3)}
    return store


def test_parts_belong_to_their_run_only(store, tmp_path):
    again = record.Store(tmp_path, IDENTITY, ORIGIN)
    np.testing.assert_array_equal(again["a/b"]["x"], np.arange(3))
    with pytest.raises(UserError, match=r"with other settings \(seed\)"):
        record.Store(tmp_path, {**IDENTITY, "seed": 1}, ORIGIN)
    for path in tmp_path.rglob("*.part"):
        path.unlink()
    assert not record.Store(tmp_path, {**IDENTITY, "seed": 1}, ORIGIN)  # nothing is lost


def test_all_origins_of_a_resumed_run_are_kept(store, tmp_path):
    again = record.Store(tmp_path, IDENTITY, {"commit": "b", "dirty": True})
    again["c"] = again["d"] = {"x": np.arange(3)}
    told = record.Store(tmp_path, IDENTITY, ORIGIN).provenance()
    assert told["origins"] == [ORIGIN, {"commit": "b", "dirty": True}]
    assert told["wall_s"] == again.provenance()["wall_s"] > store.provenance()["wall_s"] > 0


def test_every_byte_of_a_part_counts_its_name_and_origin_too(store, tmp_path):
    (path,) = tmp_path.rglob("*.part")
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(UserError, match="is damaged"):
            record.Store(tmp_path, IDENTITY, ORIGIN)
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="is damaged"):
        record.Store(tmp_path, IDENTITY, ORIGIN)


# ---------- refusals ----------


def test_a_folder_is_taken_only_where_nothing_is_lost(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    compute(tmp_path / "done")
    for resume in (True, False):
        record.check_folder(tmp_path / "empty", resume)
        record.check_folder(tmp_path / "new" / "er", resume)
        for name, sentence in (("file", "is not a folder"), ("full", "holds other files")):
            with pytest.raises(UserError, match=sentence):
                record.check_folder(tmp_path / name, resume)
    record.check_folder(tmp_path / "done", resume=True)
    with pytest.raises(UserError, match="holds a finished record"):
        record.check_folder(tmp_path / "done", resume=False)
    before = content(tmp_path / "done")
    with pytest.raises(UserError, match=r"other settings \(seed\)"):
        compute(tmp_path / "done", seed=1)
    (tmp_path / "done" / "values.svg").unlink()
    compute(tmp_path / "done")  # shown; nothing is written
    del before["values.svg"]
    assert content(tmp_path / "done") == before


def test_what_no_commit_holds_makes_no_record_among_the_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(record.PACKAGE.parent)
    for out in (Path("figures/new"), Path("docs/../figures/exploratory/new").absolute()):
        record.check_folder(out, resume=False)
        with pytest.raises(UserError, match="commit the package's changes"):
            record.check_folder(out, resume=False, dirty=True)
    record.check_folder(tmp_path / "figures", resume=False, dirty=True)


def test_the_origin_tells_the_commit_and_every_change_of_the_source(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(record, "PACKAGE", package)
    (package / "record.py").write_text("1")
    outside = record.origin()
    assert outside["commit"] is None and not outside["dirty"]
    git = ["git", "-C", str(package), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    (tmp_path / "elsewhere.txt").write_text("no part of the package")
    committed = record.origin()
    assert re.fullmatch("[0-9a-f]{40}", committed["commit"]) and not committed["dirty"]
    assert committed["source"] == outside["source"]
    (package / "new.py").write_text("2")
    added = record.origin()
    (package / "new.py").rename(package / "other.py")
    renamed = record.origin()
    assert added["dirty"] and added["commit"] == committed["commit"]
    assert len({origin["source"] for origin in (committed, added, renamed)}) == 3


# ---------- records ----------


def test_what_is_computed_is_what_is_loaded(tmp_path):
    loaded = compute(tmp_path)
    result = record.run(toy.experiment(toy.ToyConfig(), None, None))
    xr.testing.assert_identical(loaded.data, result.data)
    with xr.open_dataset(tmp_path / "record.nc", engine="scipy") as opened:  # as README says
        xr.testing.assert_identical(opened.load(), result.data)
    np.testing.assert_array_equal(loaded.params["w"], result.params["w"])
    assert loaded.judgements == claims.judge(toy.CLAIMS, result.data)
    assert loaded.manifest["claims"] == {claim.id: claim.sha256 for claim in toy.CLAIMS}
    (origin,) = loaded.manifest["origins"]
    assert origin == record.origin()
    assert loaded.manifest["config"] == {"n": 3, "shift": 1.0} and loaded.manifest["seed"] == 0


def test_parameters_are_kept_if_asked_for_only(tmp_path):
    assert not compute(tmp_path, keep_params=False).params
    assert not (tmp_path / record.PARAMS).exists()


def test_a_summary_is_flat_one_claim_or_estimate_a_line(tmp_path):
    loaded = compute(tmp_path)
    rows = [*toy.estimates(loaded.data), Row("R²", "α", Estimate(1 / 3, -np.inf, np.nan, 2))]
    text = record.summary(loaded.data, loaded.manifest, loaded.judgements, rows).decode()
    whole = json.loads(text)
    lines = [line.strip().rstrip(",") for line in text.splitlines() if line.startswith("  {")]
    assert [json.loads(line) for line in lines] == whole["claims"] + whole["estimates"]
    assert whole["estimates"][-1] == {
        "quantity": "R²", "labels": "α", "value": 0.333333, "low": None, "high": None, "n": 2,
    }  # fmt: skip
    (y1, y2), shown = whole["claims"], loaded.judgements[1].shown
    assert (y1["verdict"], y2["verdict"], y2["id"]) == ("reproduced", "did not hold", "Y2")
    np.testing.assert_allclose([y2[k] for k in ("value", "low", "high")], shown[:3], rtol=1e-5)


@pytest.mark.parametrize("name", FILES[:3])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_noticed_and_named(tmp_path, name, damage):
    compute(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage == "cut" else b"x" + whole[1:])
    if damage == "gone":
        path.unlink()
    with pytest.raises(UserError, match=re.escape(name)):
        experiments.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"format": 3}, "record format 3"), ({"config": 3}, "config"), ({"seed": "0"}, "seed"),
     ({"sha256": {"../secret": ""}}, "sha256"), ({"sha256": {}}, "record.nc"),
     ({"experiment": "dance"}, "no experiment 'dance'")],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_refused(tmp_path, change, sentence):
    compute(tmp_path)
    path = tmp_path / record.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=sentence):
        experiments.load(tmp_path)


@pytest.mark.parametrize("garbled", ["", "{", "[]", "3", "\x00"])
def test_a_manifest_that_is_none_is_refused(tmp_path, garbled):
    with pytest.raises(UserError, match="no finished record"):
        experiments.load(tmp_path)
    (tmp_path / record.MANIFEST).write_text(garbled)
    with pytest.raises(UserError, match=r"is damaged|record format None"):
        experiments.load(tmp_path)

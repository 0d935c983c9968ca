"""Records are whole or not there, and say so in one sentence."""

import errno
import json
import os

import numpy as np
import pytest
import xarray as xr

from subliminal_toy import records
from subliminal_toy.errors import UserError

DATA = xr.Dataset(
    {
        "accuracy": (("replicate", "arm"), np.arange(6.0).reshape(2, 3), {"units": "fraction"}),
        "diverged": (("replicate",), np.array([True, False])),
        "text": (("arm",), ["Δ_S·v", "", "x"]),
    },
    coords={"arm": ["owl", "oak", "pine"]},
    attrs={"dataset": "digits"},
)
PARAMS = {"teacher.layers.0.weight": np.ones((2, 2), np.float32)}


@pytest.fixture
def manifest():
    return records.provenance("classifier", {"n_replicates": 2}, 0, "classifier --n-replicates 2")


@pytest.fixture
def record(tmp_path, manifest):
    records.save(tmp_path / "r", DATA, {"n_replicates": 2}, manifest, PARAMS)
    return tmp_path / "r"


def test_what_is_saved_is_what_is_loaded(record, manifest):
    loaded = records.load(record, "classifier")
    xr.testing.assert_identical(loaded.data, DATA)
    assert loaded.data.accuracy.sel(arm="oak").values.tolist() == [1.0, 4.0]
    assert loaded.data.diverged.dtype == bool
    with xr.open_dataset(record / "record.nc", engine="scipy") as opened:  # as the README says
        xr.testing.assert_identical(opened.load(), DATA)
    np.testing.assert_array_equal(loaded.params["teacher.layers.0.weight"], np.ones((2, 2)))
    assert loaded.summary == {"n_replicates": 2}
    assert {k: loaded.manifest[k] for k in manifest} == json.loads(json.dumps(manifest))
    assert not list(record.glob(".*"))


def test_the_same_arrays_are_the_same_bytes(record, tmp_path, manifest):
    records.save(tmp_path / "again", DATA, {"n_replicates": 2}, manifest, PARAMS)
    for name in (records.RECORD, records.PARAMS, records.SUMMARY, records.MANIFEST):
        assert (record / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_summary_that_is_not_json_is_refused_before_anything_is_written(tmp_path, manifest):
    with pytest.raises(ValueError, match="JSON"):
        records.save(tmp_path / "r", DATA, {"mean": float("nan")}, manifest)
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize("name", [records.RECORD, records.PARAMS, records.SUMMARY])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_noticed_and_named(record, name, damage):
    path = record / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else b"x" + content[1:])
    with pytest.raises(UserError, match=f"{name} is missing or damaged"):
        records.load(record)


def test_unfinished_foreign_old_and_garbled_records_are_refused(record, tmp_path):
    with pytest.raises(UserError, match="no finished record"):
        records.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="a record of 'classifier', not of 'theorem'"):
        records.load(record, "theorem")
    path = record / records.MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["format"] = 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has record format 1"):
        records.load(record)
    for garbled in ("{", "[]", "{}"):
        path.write_text(garbled)
        with pytest.raises(UserError, match="is damaged"):
            records.load(record)


@pytest.mark.parametrize("failing", [records.RECORD, records.SUMMARY, records.MANIFEST])
def test_a_full_disk_leaves_no_record_and_no_halves(tmp_path, manifest, monkeypatch, failing):
    def full(source, target):
        if os.path.basename(target) == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        records.save(tmp_path / "r", DATA, {}, manifest, PARAMS)
    assert not list((tmp_path / "r").glob(".*"))
    with pytest.raises(UserError, match="no finished record"):
        records.load(tmp_path / "r")

"""Records are whole or not there, and say so in one sentence."""

import errno
import hashlib
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
SUMMARY = {"experiment": "classifier", "dataset": "digits", "seed": 0, "wall_s": 1.5, "claims": []}
PARAMS = {"teacher.layers.0.weight": np.ones((2, 2), np.float32)}


@pytest.fixture
def manifest():
    made = records.provenance("classifier", {"n_replicates": 2}, 0, "classifier --n-replicates 2")
    return {**made, "wall_s": 1.5}


@pytest.fixture
def record(tmp_path, manifest):
    records.save(tmp_path / "r", DATA, SUMMARY, manifest, PARAMS)
    return tmp_path / "r"


def test_what_is_saved_is_what_is_loaded(record, manifest):
    loaded = records.load(record, "classifier")
    xr.testing.assert_identical(loaded.data, DATA)
    assert loaded.data.accuracy.sel(arm="oak").values.tolist() == [1.0, 4.0]
    assert loaded.data.diverged.dtype == bool
    with xr.open_dataset(record / "record.nc", engine="scipy") as opened:  # as the README says
        xr.testing.assert_identical(opened.load(), DATA)
    np.testing.assert_array_equal(loaded.params["teacher.layers.0.weight"], np.ones((2, 2)))
    assert loaded.summary == SUMMARY
    assert {k: loaded.manifest[k] for k in manifest} == json.loads(json.dumps(manifest))
    assert not list(record.glob(".*"))


def test_the_same_arrays_are_the_same_bytes(record, tmp_path, manifest):
    records.save(tmp_path / "again", DATA, SUMMARY, manifest, PARAMS)
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


def test_unfinished_foreign_and_old_records_are_refused(record, tmp_path):
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


@pytest.mark.parametrize(
    "garbled", ["", "{", "[]", "{}", "3", '"' + "x" * 9, "[" * 100_000, "\x00"]
)
def test_a_manifest_that_is_none_is_refused(record, garbled):
    (record / records.MANIFEST).write_text(garbled)
    with pytest.raises(UserError, match="is damaged"):
        records.load(record)


@pytest.mark.parametrize(
    "name", [records.RECORD, records.PARAMS, records.SUMMARY, records.MANIFEST]
)
def test_any_byte_that_is_flipped_is_noticed(record, name):
    path, rng = record / name, np.random.default_rng(0)
    content = path.read_bytes()
    for i in (
        range(len(content)) if name == records.MANIFEST else rng.integers(len(content), size=200)
    ):
        flipped = bytes([content[i] ^ (1 << rng.integers(8))])
        path.write_bytes(content[:i] + flipped + content[i + 1 :])
        with pytest.raises(UserError) as error:
            records.load(record)
        assert str(record) in str(error.value)
    path.write_bytes(content)
    records.load(record)


def rewritten(record, **changes):
    """Change a manifest as its own maker would, digest included."""
    path = record / records.MANIFEST
    path.write_bytes(records.sealed({**json.loads(path.read_bytes()), **changes}))


STRANGE = {
    "config": [{"n_replicates": 0}, {"n_replicates": "two"}, {"architecture": "rnn"}, 3],
    "seed": ["0", 1.5, None],
    "versions": [{"jax": 1}, "new"],
    "command": [None, ["report"]],
    "experiment": [7, None],
    "device": [{}],
    "wall_s": ["long"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in STRANGE.items() for value in values]
)
def test_a_manifest_of_another_shape_is_refused(record, field, value):
    rewritten(record, **{field: value})
    with pytest.raises(UserError, match="is no manifest that can be read"):
        records.load(record)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "accuracy.svg", ""])
def test_only_known_files_are_opened(record, name):
    digests = json.loads((record / records.MANIFEST).read_bytes())["sha256"]
    rewritten(record, sha256={**digests, name: "0" * 64})
    with pytest.raises(UserError, match="is no manifest that can be read"):
        records.load(record)
    for left_out in (records.RECORD, records.SUMMARY):
        rewritten(record, sha256={k: v for k, v in digests.items() if k != left_out})
        with pytest.raises(UserError, match=f"it lacks {left_out}"):
            records.load(record)


CLAIM = {"id": "M1", "statement": "", "criterion": "", "verdict": "reproduced", "reason": "",
         "n": 2, "value": 0.5, "interval": [0.4, 0.6]}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"verdict": "proved"}, {"n": -1}, {"n": "2"}, {"value": "0.5"}, {"interval": [0.4]},
     {"interval": 0.4}, {"id": None}, {"url": "x"}],
)  # fmt: skip
def test_a_claim_has_its_fields_and_no_others(tmp_path, manifest, change):
    out = tmp_path / "r"
    records.save(out, DATA, {**SUMMARY, "claims": [CLAIM]}, manifest)
    records.load(out)
    records.save(out, DATA, {**SUMMARY, "claims": [{**CLAIM, **change}]}, manifest)
    with pytest.raises(UserError, match="is no record that can be read"):
        records.load(out)


def test_two_places_of_one_name_are_refused(tmp_path, manifest):
    twice = DATA.assign_coords(arm=["owl", "owl", "pine"])
    records.save(tmp_path / "r", twice, SUMMARY, manifest)
    with pytest.raises(UserError, match="two places along arm"):
        records.load(tmp_path / "r")


@pytest.mark.parametrize("name", [records.RECORD, records.PARAMS, records.SUMMARY])
def test_bytes_that_are_no_file_of_their_kind_are_refused(record, name):
    """As a stranger may send them, checksums and all."""
    (record / name).write_bytes(b"CDF\x01" + b"\xff" * 40)
    digest = hashlib.sha256((record / name).read_bytes()).hexdigest()
    digests = json.loads((record / records.MANIFEST).read_bytes())["sha256"]
    rewritten(record, sha256={**digests, name: digest})
    with pytest.raises(UserError, match="is no record that can be read"):
        records.load(record)


def test_a_command_is_shown_without_the_folders_of_its_machine():
    given = [
        "lm",
        "--out",
        "/home/a b",
        "--data-dir=/x",
        "--data_dir",
        "/y",
        "--seed",
        "1",
        "--out",
    ]
    assert records.command_line(given) == (
        "lm --out DIR --data-dir=DIR --data_dir DIR --seed 1 --out"
    )


@pytest.mark.parametrize("failing", [records.RECORD, records.SUMMARY, records.MANIFEST])
def test_a_full_disk_leaves_no_record_and_no_halves(tmp_path, manifest, monkeypatch, failing):
    def full(source, target):
        if os.path.basename(target) == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        records.save(tmp_path / "r", DATA, SUMMARY, manifest, PARAMS)
    assert not list((tmp_path / "r").glob(".*"))
    with pytest.raises(UserError, match="no finished record"):
        records.load(tmp_path / "r")

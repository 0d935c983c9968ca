"""Records are whole or not there, and say so in one sentence."""

import errno
import json
import os

import numpy as np
import pytest

from subliminal_toy import results
from subliminal_toy.errors import UserError

ARRAYS = {"accuracy": np.arange(6.0).reshape(2, 3), "names": np.array(["owl", "oak"])}
PARAMS = {"teacher.layers.0.weight": np.ones((2, 2), np.float32)}
IDENTITY = {"experiment": "mnist", "config": {"n_models": 2}, "seed": 0}


@pytest.fixture
def manifest():
    return results.provenance("mnist", {"n_models": 2}, 0, "mnist --n-models 2")


@pytest.fixture
def record(tmp_path, manifest):
    results.save(tmp_path / "r", ARRAYS, {"n_models": 2}, manifest, PARAMS)
    return tmp_path / "r"


def test_what_is_saved_is_what_is_loaded(record, manifest):
    loaded = results.load(record, "mnist")
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    np.testing.assert_array_equal(loaded.params["teacher.layers.0.weight"], np.ones((2, 2)))
    assert loaded.summary == {"n_models": 2}
    assert {k: loaded.manifest[k] for k in manifest} == json.loads(json.dumps(manifest))
    assert not list(record.glob(".*"))


def test_the_same_arrays_are_the_same_bytes(record, tmp_path, manifest):
    results.save(tmp_path / "again", ARRAYS, {"n_models": 2}, manifest, PARAMS)
    for name in (results.RECORD, results.PARAMS, results.SUMMARY, results.MANIFEST):
        assert (record / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_summary_that_is_not_json_is_refused_before_anything_is_written(tmp_path, manifest):
    with pytest.raises(ValueError, match="JSON"):
        results.save(tmp_path / "r", ARRAYS, {"mean": float("nan")}, manifest)
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize("name", [results.RECORD, results.PARAMS, results.SUMMARY])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_noticed_and_named(record, name, damage):
    path = record / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else b"x" + content[1:])
    with pytest.raises(UserError, match=f"{name} is missing or damaged"):
        results.load(record)


def test_unfinished_foreign_old_and_garbled_records_are_refused(record, tmp_path):
    with pytest.raises(UserError, match="no finished record"):
        results.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="a record of 'mnist', not of 'theorem'"):
        results.load(record, "theorem")
    path = record / results.MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest["versions"]["subliminal_toy"] = "0.0.1"
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"written by version 0\.0\.1"):
        results.load(record)
    for garbled in ("{", "[]", "{}"):
        path.write_text(garbled)
        with pytest.raises(UserError, match="is damaged"):
            results.load(record)


@pytest.mark.parametrize("failing", [results.RECORD, results.SUMMARY, results.MANIFEST])
def test_a_full_disk_leaves_no_record_and_no_halves(tmp_path, manifest, monkeypatch, failing):
    def full(source, target):
        if os.path.basename(target) == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        results.save(tmp_path / "r", ARRAYS, {}, manifest, PARAMS)
    assert not list((tmp_path / "r").glob(".*"))
    with pytest.raises(UserError, match="no finished record"):
        results.load(tmp_path / "r")


def test_chunks_are_kept_in_order_and_only_for_their_run(tmp_path):
    store = results.ChunkStore(tmp_path, IDENTITY)
    for name in ("b", "a"):
        store[name] = {"x": np.arange(3)}
    again = results.ChunkStore(tmp_path, IDENTITY)
    assert list(again) == ["a", "b"] and len(again) == 2 and "a" in again and "c" not in again
    np.testing.assert_array_equal(again["b"]["x"], np.arange(3))
    with pytest.raises(UserError, match="with other settings"):
        results.ChunkStore(tmp_path, {**IDENTITY, "seed": 1})
    again.discard()
    assert not results.ChunkStore.exists(tmp_path)


def test_a_damaged_chunk_is_named(tmp_path):
    store = results.ChunkStore(tmp_path, IDENTITY)
    store["a"] = {"x": np.arange(3)}
    next(tmp_path.rglob("a.safetensors")).write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"a\.safetensors is damaged"):
        store["a"]

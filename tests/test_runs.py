"""The runner: order, storing, resuming, status; the store on disk."""

import numpy as np
import pytest
import xarray as xr

from subliminal_toy.errors import UserError
from subliminal_toy.runs import Experiment, Part, Result, Store, run

IDENTITY = {"experiment": "classifier", "config": {"n_replicates": 2}, "seed": 0}


def chain(computed, side_by_side=1):
    """Three parts, each the one before plus 1 (or a constant, side by side)."""

    def part(number):
        def compute(finished):
            computed.append(number)
            before = 0 if number == 0 or side_by_side > 1 else finished[f"p{number - 1}"]["x"]
            return {"x": np.asarray(before + 1)}

        return Part(f"p{number}", f"part {number}", 1.0 + number, compute)

    def assemble(finished):
        values = [int(finished[f"p{i}"]["x"]) for i in range(3)]
        return Result(xr.Dataset({"x": ("part", values)}), {})

    return Experiment([part(i) for i in range(3)], assemble, side_by_side)


def test_parts_see_those_before_them():
    computed = []
    assert run(chain(computed)).data.x.values.tolist() == [1, 2, 3]
    assert computed == [0, 1, 2]


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_what_is_stored_is_not_computed_again(side_by_side, tmp_path):
    store, computed = Store(tmp_path, IDENTITY), []
    run(chain(computed, side_by_side), store)
    assert sorted(computed) == [0, 1, 2] and sorted(store) == ["p0", "p1", "p2"]
    del store["p1"]
    computed.clear()
    again = run(chain(computed, side_by_side), Store(tmp_path, IDENTITY))
    assert computed == [1]
    assert again.data.identical(run(chain([], side_by_side)).data)


def test_the_status_rises_to_one_with_the_shares_of_the_work():
    told = []
    run(chain([]), None, lambda *status: told.append(status))
    assert told == [
        (0.0, "3 of 3 parts to compute"),
        (0.0, "part 0"),
        (pytest.approx(1 / 6), "part 1"),
        (pytest.approx(3 / 6), "part 2"),
        (1.0, "finished"),
    ]


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_a_part_that_fails_ends_the_run_and_the_finished_ones_stay(side_by_side):
    def fail(_):
        raise UserError("no")

    whole, finished = chain([], side_by_side), {}
    parts = [*whole.parts[:1], Part("bad", "bad", 1.0, fail), *whole.parts[1:]]
    with pytest.raises(UserError, match="no"):
        run(whole._replace(parts=parts), finished)
    assert "p0" in finished and "bad" not in finished


def test_parts_are_kept_in_order_and_only_for_their_run(tmp_path):
    store = Store(tmp_path, IDENTITY)
    for name in ("b", "a"):
        store[name] = {"x": np.arange(3)}
    again = Store(tmp_path, IDENTITY)
    assert list(again) == ["a", "b"] and len(again) == 2 and "a" in again and "c" not in again
    np.testing.assert_array_equal(again["b"]["x"], np.arange(3))
    with pytest.raises(UserError, match=r"with other settings \(seed\)"):
        Store(tmp_path, {**IDENTITY, "seed": 1})
    Store.discard(tmp_path)
    assert not Store.exists(tmp_path)


def test_what_a_store_made_is_forgotten_and_nothing_else(tmp_path):
    (tmp_path / "runs").mkdir()
    store = Store(tmp_path / "runs" / "a" / "b", IDENTITY)
    store["x"] = {"x": np.arange(3)}
    store.forget()
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_a_part_names_its_device(tmp_path):
    Store(tmp_path, IDENTITY, "one")["a"] = {"x": np.arange(3)}
    again = Store(tmp_path, IDENTITY, "two")
    again["b"] = {"x": np.arange(3)}
    assert again.devices() == {"a": "one", "b": "two"} and again.resumed


def test_every_byte_of_a_part_and_of_the_marker_counts(tmp_path):
    store = Store(tmp_path, IDENTITY, "cpu")
    store["a"] = {"x": np.arange(3)}
    path = next(tmp_path.rglob("a.arrays"))
    content = path.read_bytes()
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        with pytest.raises(UserError, match=r"a\.arrays is damaged"):
            store["a"]
    path.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"a\.arrays is damaged"):
        store["a"]
    marker = next(tmp_path.rglob("identity.json"))
    for garbled in (b"", b"{", b"[]", b"3", b"\xff"):
        marker.write_bytes(garbled)
        with pytest.raises(UserError, match=r"identity\.json is damaged|with other settings"):
            Store(tmp_path, IDENTITY)

"""What import-vectors reads, before anything is stored."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from app.cli.vector_file import VectorFile
from app.domain import LABELS, GivenScores
from app.errors import InvalidParameter

RNG = np.random.default_rng(4)
NINE = ",".join(LABELS)


def vector_file(directory: Path, array: np.ndarray, *lines: str) -> VectorFile:
    """A .npy file, and a CSV file of `lines` if there are any."""
    np.save(directory / "v.npy", array, allow_pickle=True)
    meta = directory / "m.csv" if lines else None
    if meta is not None:
        meta.write_text("\n".join(lines) + "\n")
    return VectorFile(directory / "v.npy", meta)


def check(file: VectorFile) -> np.ndarray | None:
    return file.check(lambda count: None)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_any_float_becomes_float32_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr("app.cli.vector_file.BLOCK_BYTES", 4 * 5 * 8)
    array = np.asfortranarray(RNG.standard_normal((21, 5)).astype(dtype))
    file = vector_file(tmp_path, array)
    assert check(file) is None
    for done in (0, 13):
        blocks = list(file.blocks(done))
        assert [first for first, _, _ in blocks] == list(range(done, 21, 8))
        read = np.concatenate([vectors for _, vectors, _ in blocks])
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, array[done:].astype(np.float32))


def test_the_key_is_of_both_files(tmp_path: Path) -> None:
    array = RNG.standard_normal((2, 3))
    keys = {
        vector_file(tmp_path, array).key(),
        vector_file(tmp_path, array, "meta.a", "x", "y").key(),
        vector_file(tmp_path, array, "meta.a", "x", "z").key(),
        vector_file(tmp_path, array + 1).key(),
    }
    assert len(keys) == 4
    assert vector_file(tmp_path, array).key() in keys


def test_what_a_row_says(tmp_path: Path) -> None:
    header = f"id,customer_id,recorded_at,tags,emotion,{NINE},meta.a b,meta.é"
    scores = "0.1,0.1,0.1,0.3,0.1,0.1,0.1,0.05,0.05"
    file = vector_file(
        tmp_path,
        np.ones((3, 2)),
        header,
        f"7,anna,2024-05-01T12:00:00+02:00,x; y;,,{scores},1,",
        f"9,,,,happy,{scores},,2",
        f"8,,,,sad{',' * 11}",
    )
    ids = check(file)
    assert ids is not None
    assert ids.tolist() == [7, 9, 8]
    [(_, _, rows)] = file.blocks(0)
    first, second, third = (row.as_clip() for row in rows)
    assert first.fields.customer_id == "anna"
    assert first.fields.recorded_at == dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)
    assert first.fields.tags == ("x", "y")
    assert first.fields.metadata == {"a b": "1"}
    assert first.heard == second.heard
    assert (first.heard.emotion, first.heard.confidence) == ("happy", 0.3)
    assert second.fields.metadata == {"é": "2"}
    assert third.heard == GivenScores("sad")
    [(number, _, rest)] = file.blocks(2)
    assert (number, [row.id for row in rest]) == (2, [8])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["id", "5", "6", "5"], "id 5 is there twice"),
        (["id,meta.a", "5,x", ",x", "6,x"], "row 1 has no id"),
        (["id", "1000", "1001", "0"], "row 2: id"),
        (["id", str(2**53), "2", "3"], "row 0: id"),
        (["id", "2", "1.5", "3"], "row 1: id"),
        (["id", "5", "6"], "has 2 rows, FILE has 3"),
        (["id", "5", "6", "7", "8"], "has more rows"),
        (["id,mood", "5,a", "6,b", "7,c"], "column 'mood'"),
        (["id,meta.", "5,a", "6,b", "7,c"], "column 'meta.'"),
        (["id,id", "5,5", "6,6", "7,7"], "is there twice"),
        (["id,happy", "5,1", "6,1", "7,1"], "scores need all"),
        (["id,meta.a", "5,a", "6", "7,c"], "row 1 has more or fewer cells"),
        (["id", "5", "6,7", "7"], "row 1 has more or fewer cells"),
        (["recorded_at", *["2024-05-01T12:00:00Z"] * 2, "monday"], "row 2: recorded_at"),
        (["emotion", "cheerful", "sad", "sad"], "row 0: emotion"),
        ([NINE, *["0.2" + ",0.2" * 8] * 3], "row 0: scores: must sum to 1"),
        ([NINE, *["2,-1" + ",0" * 7] * 3], "row 0: scores: must be between"),
        ([NINE, *["nan" + ",0" * 8] * 3], "row 0: scores"),
        ([NINE, *["1" + "," * 8] * 3], "row 0: scores: must hold"),
        ([f"{NINE},emotion", *["1" + ",0" * 8 + ",sad"] * 3], "not the label"),
        (["customer_id", "a" * 201, "b", "c"], "row 0: customer_id"),
        (["meta.a", "a" * 20_000, "b", "c"], "row 0: metadata"),
    ],
)
def test_a_csv_that_is_refused(tmp_path: Path, lines: list[str], told: str) -> None:
    file = vector_file(tmp_path, np.ones((3, 2), np.float32), *lines)
    with pytest.raises(InvalidParameter, match="meta") as refusal:
        check(file)
    assert told in refusal.value.detail


@pytest.mark.parametrize(
    "array",
    [np.ones((3, 2), np.int32), np.ones(3), np.ones((0, 2)), np.ones((2, 0)), np.array([{}, {}])],
    ids=["whole numbers", "flat", "no rows", "no columns", "objects"],
)
def test_an_array_that_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(InvalidParameter, match="FILE"):
        vector_file(tmp_path, array)


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, np.ones((30, 4)))
    for content in (path.read_bytes()[:-1], b"", b"not at all", path.read_bytes()[:20]):
        path.write_bytes(content)
        with pytest.raises(InvalidParameter, match=r"is not a \.npy file"):
            VectorFile(path, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_as_float32(tmp_path: Path, value: float) -> None:
    array = np.ones((1000, 4))
    array[998, 3] = value
    with pytest.raises(InvalidParameter, match="row 998 is not finite"):
        check(vector_file(tmp_path, array))

"""A snapshot is loaded whole and as it was saved, or refused with the reason."""

import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed import save_in_a_process_killed_at

from index import manifest, snapshot
from index.errors import SnapshotError, SnapshotNotFoundError
from index.exact import ExactIndex
from index.flat import FlatIndex
from index.graph_index import GraphIndex
from index.npy_files import npy_header

MODEL, DIMENSION = "sha256:0123", 6
GOLDEN = Path(__file__).parent / "golden"


def make_index(first: int, count: int) -> FlatIndex:
    rng = np.random.default_rng(first)
    index = FlatIndex(DIMENSION, rng.standard_normal(DIMENSION).astype(np.float32), segment_rows=4)
    index.add(
        np.arange(first, first + count), rng.standard_normal((count, DIMENSION)).astype(np.float32)
    )
    return index


def save(index: FlatIndex | GraphIndex, directory: Path, build: int = 1) -> None:
    snapshot.save(index, directory, model_digest=MODEL, build=build)


def load(directory: Path) -> tuple[FlatIndex | GraphIndex, manifest.Manifest]:
    return snapshot.load(directory, model_digest=MODEL, dimension=DIMENSION)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(make_index(1, 10), tmp_path / "saved", 3)
    return tmp_path / "saved"


def file_of(directory: Path, role: str) -> Path:
    if role == "manifest":
        return directory / "manifest.json"
    [path] = directory.glob(f"{role}-*.npy")
    return path


def rewrite_manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """As someone who knows the format would, checksum included."""
    fields = json.loads(file_of(directory, "manifest").read_bytes())
    fields.pop("sha256")
    change(fields)
    file_of(directory, "manifest").write_bytes(manifest._encoded(fields))


def test_what_was_saved_is_loaded(saved: Path) -> None:
    before = make_index(1, 10)
    after, read = load(saved)
    assert after.mean.tolist() == before.mean.tolist()
    queries = np.random.default_rng(9).standard_normal((5, DIMENSION)).astype(np.float32)
    for one, other in zip(before.search(queries, 10), after.search(queries, 10), strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.similarities.tolist() == other.similarities.tolist()
    assert (read.format, read.build, read.count, read.dimension) == (1, 3, 10, DIMENSION)
    assert read.built_on is None
    assert (read.model_digest, read.metric) == (MODEL, "centred-cosine")


def test_a_loaded_index_goes_on(saved: Path) -> None:
    index, _ = load(saved)
    index.add(np.array([50]), np.ones((1, DIMENSION), np.float32))
    assert index.remove(np.array([1, 2, 3])) == 3
    save(index, saved, 4)
    again, read = load(saved)
    assert again.ids().tolist() == [4, 5, 6, 7, 8, 9, 10, 50]
    assert read.build == 4


def test_an_empty_index_and_any_engine_can_be_saved(tmp_path: Path) -> None:
    save(FlatIndex(DIMENSION), tmp_path)
    assert len(load(tmp_path)[0]) == 0
    exact = ExactIndex(DIMENSION)
    exact.add(np.array([7]), np.ones((1, DIMENSION), np.float32))
    snapshot.save(exact, tmp_path, model_digest=MODEL, build=2)
    assert load(tmp_path)[0].ids().tolist() == [7]


def test_files_are_plain_npy(saved: Path) -> None:
    for role, dtype, shape in (
        ("ids", np.int64, (10,)),
        ("directions", np.float32, (10, DIMENSION)),
        ("mean", np.float32, (DIMENSION,)),
    ):
        array = np.load(file_of(saved, role), allow_pickle=False)
        assert array.dtype == dtype
        assert array.shape == shape


def test_golden_snapshot_of_format_1_still_loads() -> None:
    index, read = snapshot.load(GOLDEN, model_digest="golden", dimension=4)
    assert (read.build, read.count, read.built_on, read.changed) == (5, 4, 3, 0)
    assert index.mean.tolist() == [0.5, 0.25, 0, 0]
    query = np.array([[1.5, 0.25, 0, 0]], np.float32)
    [hits] = index.search(query, 9)
    assert hits.ids.tolist() == [20, 30, 2**40, 7]
    assert hits.similarities[[0, 2, 3]].tolist() == [1, 0, -1]
    assert abs(hits.similarities[1] - 0.6) < 1e-7


@pytest.mark.parametrize("role", ["manifest", "ids", "directions", "mean"])
def test_a_flipped_byte_anywhere_is_refused(saved: Path, role: str) -> None:
    path = file_of(saved, role)
    intact = path.read_bytes()
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError):
            load(saved)
    path.write_bytes(intact)
    assert len(load(saved)[0]) == 10


@pytest.mark.parametrize("role", ["manifest", "ids", "directions", "mean"])
def test_a_cut_or_grown_file_is_refused(saved: Path, role: str) -> None:
    path = file_of(saved, role)
    intact = path.read_bytes()
    for length in {*range(0, len(intact), 9), len(intact) - 1}:
        path.write_bytes(intact[:length])
        with pytest.raises(SnapshotError):
            load(saved)
    path.write_bytes(intact + b"\0")
    with pytest.raises(SnapshotError):
        load(saved)


@pytest.mark.parametrize("role", ["ids", "directions", "mean"])
def test_a_missing_file_is_refused_by_name(saved: Path, role: str) -> None:
    file_of(saved, role).unlink()
    with pytest.raises(SnapshotError, match=f"{role}-.* is missing"):
        load(saved)


def test_no_snapshot_is_told_apart_from_a_damaged_one(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(SnapshotNotFoundError):
        load(tmp_path / "nowhere")
    file_of(saved, "manifest").unlink()
    with pytest.raises(SnapshotNotFoundError):
        load(saved)


def test_a_snapshot_of_something_else_is_refused(saved: Path) -> None:
    with pytest.raises(SnapshotError, match="model is sha256:0123, wanted other"):
        snapshot.load(saved, model_digest="other", dimension=DIMENSION)
    with pytest.raises(SnapshotError, match="dimension is 6, wanted 7"):
        snapshot.load(saved, model_digest=MODEL, dimension=7)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("format", 2, "not a manifest"),
        ("format", 3, "format is 3, wanted 1 or 2"),
        ("metric", "euclidean", "metric is euclidean"),
        ("count", 10**15, "bytes, wanted"),
        ("count", 9, "bytes, wanted"),
        ("count", -1, "cannot be"),
        ("count", "10", "cannot be"),
        ("build", None, "cannot be"),
        ("built_on", -1, "cannot be"),
        ("changed", -1, "cannot be"),
        ("dimension", 0, "cannot be"),
        ("surplus", 0, "not a manifest"),
        ("files", {}, "does not name"),
        ("files", {"ids": 1}, "not a manifest"),
    ],
)
def test_a_forged_manifest_is_refused(saved: Path, field: str, value: object, reason: str) -> None:
    rewrite_manifest(saved, lambda fields: fields.update({field: value}))
    with pytest.raises(SnapshotError, match=reason):
        load(saved)


@pytest.mark.parametrize("name", ["../ids-0123456789abcdef.npy", "/etc/passwd", "", 5])
def test_a_manifest_cannot_name_files_elsewhere(saved: Path, name: object) -> None:
    rewrite_manifest(saved, lambda fields: fields["files"]["ids"].update(name=name))
    with pytest.raises(SnapshotError, match="no snapshot has"):
        load(saved)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b"NaN"])
def test_what_is_not_a_manifest_is_refused(saved: Path, text: bytes) -> None:
    file_of(saved, "manifest").write_bytes(text)
    with pytest.raises(SnapshotError, match="not a manifest"):
        load(saved)


@pytest.mark.parametrize(
    ("role", "change", "reason"),
    [
        ("ids", {0: 0}, "ids are below 1"),
        ("ids", {0: 5, 1: 5}, "repeated"),
        ("directions", {(3, 0): 0.5}, "length 1"),
        ("directions", {(9, 2): np.nan}, "length 1"),
        ("directions", {(9, 2): np.inf}, "length 1"),
        ("mean", {0: np.nan}, "not finite"),
    ],
)
def test_arrays_that_cannot_be_are_refused_even_with_right_checksums(
    saved: Path, role: str, change: dict[object, float], reason: str
) -> None:
    path = file_of(saved, role)
    array = np.load(path)
    for position, value in change.items():
        array[position] = value
    path.write_bytes(npy_header(array.dtype.str, array.shape) + array.tobytes())
    digest = sha256(path.read_bytes()).hexdigest()
    rewrite_manifest(saved, lambda fields: fields["files"][role].update(sha256=digest))
    with pytest.raises(SnapshotError, match=reason):
        load(saved)


def test_removed_vectors_leave_the_directory(saved: Path) -> None:
    index = make_index(1, 10)
    stored = index.stored()
    rows = dict(zip(stored.ids.tolist(), np.concatenate(list(stored.directions)), strict=True))
    index.remove(np.array([4]))  # too few to be packed away in memory
    (saved / "directions-0000000000000000.npy").write_bytes(b"left by a save that was killed")
    (saved / "kept.npy").write_bytes(b"not ours")
    save(index, saved)
    left = b"".join(path.read_bytes() for path in saved.iterdir())
    for id, row in rows.items():
        assert (row.tobytes() in left) == (id != 4)
    assert len(list(saved.iterdir())) == 5
    assert (saved / "kept.npy").exists()


def test_a_save_that_fails_keeps_the_last_snapshot_and_no_litter(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in saved.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(make_index(100, 5), saved, 4)
    assert {path.name for path in saved.iterdir()} == before
    assert load(saved)[1].build == 3


def test_files_reach_the_disk_before_they_are_relied_on(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killing a process loses nothing that was written; a power cut loses what was not synced."""
    steps: list[str] = []
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def named(path: object) -> str:
        return Path(str(path)).name.split("-")[0]

    def traced_fsync(descriptor: int) -> None:
        steps.append("sync " + named(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def traced_replace(source: Path, target: Path) -> None:
        steps.append(f"rename to {named(target)}")
        replace(source, target)

    def traced_unlink(path: Path) -> None:
        steps.append("remove")
        unlink(path)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "replace", traced_replace)
    monkeypatch.setattr(os, "unlink", traced_unlink)
    save(make_index(100, 5), saved, 4)
    written = ["sync ids", "sync directions", "sync mean", "sync manifest.json.new", "sync saved"]
    renamed = ["rename to manifest.json", "sync saved"]
    assert steps == written + renamed + ["remove"] * 3 + ["sync saved"]


def test_killed_at_any_line_the_old_or_the_new_snapshot_is_whole(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a kill does not need the disk
    old, new = make_index(1, 10), make_index(100, 5)
    outcomes, line = [], 0
    while True:
        line += 1
        directory = saved.with_name(f"killed-{line}")
        shutil.copytree(saved, directory)
        finished = save_in_a_process_killed_at(line, new, directory, MODEL)
        index, read = load(directory)
        expected = {3: old, 4: new}[read.build]
        assert index.ids().tolist() == expected.ids().tolist()
        outcomes.append(read.build)
        save(old, directory, 5)  # what the killed one left neither hinders nor stays
        assert load(directory)[1].build == 5
        assert len(list(directory.iterdir())) == 4
        shutil.rmtree(directory)
        if finished:
            break
    assert outcomes == sorted(outcomes)
    assert outcomes.count(3) > 20
    assert outcomes.count(4) > 5

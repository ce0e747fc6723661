"""Re-embedding what cannot all be heard again, and what is refused."""

from __future__ import annotations

import sqlite3

from tests.http.test_errors import is_problem, pcm
from tests.http.test_reembedding import (
    BUNDLED,
    done,
    embeddings,
    model_of,
    scores,
    some_clips,
    to_other,
)
from tests.http.test_reindex import Start, finished, reindex
from tests.second_model import NAME, place_second_model


def test_audio_that_cannot_be_heard(start: Start) -> None:
    service = start()
    clip_ids = some_clips(service)
    place_second_model(service)
    with sqlite3.connect(service.data_dir / "emoseek.db") as database:
        keys = [key for (key,) in database.execute("SELECT audio_key FROM clips ORDER BY id")]
    database.close()
    missing, short = (service.data_dir / "audio" / key[:2] / key for key in keys[:2])
    missing.unlink()
    short.write_bytes(short.read_bytes()[:200])
    before = scores(service, clip_ids[:2])
    to_other(service)
    summary = done(service)
    assert (summary["damaged"], summary["clips"], summary["reembedded"]) == (2, 7, 7)
    assert scores(service, clip_ids[:2]) == before | {
        clip_id: before[clip_id] | {"indexed": False} for clip_id in clip_ids[:2]
    }
    for clip_id in clip_ids[:2]:
        is_problem(service.get(f"/clips/{clip_id}/similar"), 409, "not-indexed")
    assert len(service.neighbours(clip_ids[2])) == 6


def test_where_no_audio_is_kept(start: Start) -> None:
    service = start(EMOSEEK_KEEP_AUDIO="false")
    place_second_model(service)
    without = some_clips(service)
    assert "kept audio" in is_problem(reindex(service, json={"model": NAME}), 409, "conflict")
    service.stop()
    service.start(EMOSEEK_KEEP_AUDIO="true")
    kept = service.post_bytes(pcm(0.4)).json()["clip_id"]
    to_other(service)
    summary = done(service)
    assert (summary["without_audio"], summary["clips"]) == (9, 1)
    service.stop()
    service.start(EMOSEEK_MODEL="auto")
    assert service.neighbours(kept) == []
    reindex(service, "/drop")
    assert done(service)["dropped"] == 1
    assert embeddings(service) == 10  # those that cannot be made anew stay
    assert service.get(f"/clips/{without[0]}").json()["model"]["id"] == BUNDLED


def test_what_is_refused(start: Start) -> None:
    service = start()
    for name in ("../other", "a/b/c", ".", "/etc", "a b", ""):
        assert reindex(service, json={"model": name}).status_code == 422, name
    is_problem(reindex(service, json={"model": "other"}), 404, "not-found")
    absent = is_problem(reindex(service, json={"model": "nobody/none"}), 404, "not-found")
    assert "emoseek models pull nobody/none" in absent
    is_problem(reindex(service, "/rollback"), 409, "conflict")
    is_problem(reindex(service, "/drop"), 409, "conflict")
    same = is_problem(reindex(service, json={"model": "bundled"}), 409, "conflict")
    assert "active model already" in same
    is_problem(service.get("/admin/reindex"), 404, "not-found")  # nothing was begun
    (service.data_dir / "models" / "empty").mkdir(parents=True)
    reindex(service, json={"model": "empty"})
    broken = finished(service)
    assert (broken["state"], "config.yaml" in broken["message"]) == ("failed", True)
    assert model_of(service) == BUNDLED

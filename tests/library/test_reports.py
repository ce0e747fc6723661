"""Reports from beginning to end, over made-up clips."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import text

from app.domain import ClipFilter
from app.errors import Conflict, NotFound
from app.library import report_content
from app.library.filter_json import to_json
from app.library.reports import Grouping, Reports
from app.store import Store, reports
from app.store.cluster_runs import Run
from app.store.reports import NewReport, Report
from tests.library.clusters_rig import Rig

KMEANS = Grouping("kmeans", 3)


class ReportRig(Rig):
    def open(self) -> None:
        super().open()
        self.reports = Reports(self.store, self.runs, lambda: self.model_row, days=30)

    def made(self, report: Report) -> Report:
        """When all that is queued is done."""
        for _ in range(20):
            self.reports.work()
            self.runs.work()
            found = self.reports.get(report.id)
            if found.state in ("done", "failed"):
                return found
        raise AssertionError(found)

    def of_slot(self, slot: dt.datetime, schedule_id: int = 1) -> Report:
        with self.store.write() as session:
            new = NewReport("Weekly", {}, KMEANS.to_json(), schedule_id=schedule_id, slot=slot)
            return reports.add(session, new, slot)


@pytest.fixture
def rig(store: Store) -> ReportRig:
    return ReportRig(store)


SLOT = dt.datetime(2026, 6, 1, 7, tzinfo=dt.UTC)
WEEK = dt.timedelta(weeks=1)


def test_a_report_says_what_its_clusters_say(rig: ReportRig) -> None:
    rig.add(120)
    report = rig.made(rig.reports.begin("All", ClipFilter(), KMEANS))
    assert report.state == "done", report.message
    told = rig.reports.content(report.id)
    assert told["clips"] == 120
    assert sum(one["size"] for one in told["clusters"]) == 120
    ranks = [one["priority"] for one in told["clusters"]]
    assert ranks == sorted(ranks, reverse=True)
    for one in told["clusters"]:
        assert one["priority"] == pytest.approx(one["share"] * one["negativity"] * one["trend"])
    assert len(told["map"]["clip_ids"]) == 120
    assert told["summary"][0].startswith("120 clips")


def test_one_that_cannot_be_made_keeps_no_other_from_being_made(
    rig: ReportRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.add(60)
    first, second = (rig.reports.begin(name, ClipFilter(), KMEANS) for name in "ab")
    original = report_content.figures

    def figures(store: Store, report: Report, run: Run | None) -> dict[str, Any]:
        if report.id == first.id:
            raise ZeroDivisionError
        return original(store, report, run)

    monkeypatch.setattr(report_content, "figures", figures)
    assert rig.made(second).state == "done"
    broken = rig.reports.get(first.id)
    assert broken.state == "failed"
    assert "log" in str(broken.message)


def test_too_few_clips_make_a_report_without_groups(rig: ReportRig) -> None:
    rig.add(5)
    report = rig.made(rig.reports.begin("Few", ClipFilter(), KMEANS))
    assert report.state == "done"
    told = rig.reports.content(report.id)
    assert told["clips"] == 5
    assert told["clusters"] == []
    assert told["summary"][-1].startswith("5 clips can be compared")
    assert rig.rows()["cluster_runs"] == 0


def test_groups_keep_their_ids_from_slot_to_slot(rig: ReportRig) -> None:
    rig.add(120)
    first = rig.made(rig.of_slot(SLOT))
    other = rig.made(rig.of_slot(SLOT, schedule_id=2))
    second = rig.made(rig.of_slot(SLOT + WEEK))
    assert (first.previous, other.previous, second.previous) == (None, None, first.id)
    before, after = (rig.reports.content(one.id) for one in (first, second))
    assert {one["lasting_id"] for one in after["clusters"]} == {
        one["lasting_id"] for one in before["clusters"]
    }
    assert before["events"] is None
    assert after["events"] == []
    assert [one["size_before"] for one in after["clusters"]] == [
        one["size"] for one in after["clusters"]
    ]
    assert [one["id"] for one in after["history"]] == [first.id]
    assert "as many as in the report before" in after["summary"][0]


def test_a_report_under_way_goes_on_in_the_next_process(rig: ReportRig) -> None:
    rig.add(60)
    report = rig.reports.begin("All", ClipFilter(), KMEANS)
    rig.reports.work()  # its cluster run is queued
    begun = rig.reports.get(report.id)
    assert begun.state == "running"
    rig.open()
    done = rig.made(report)
    assert done.state == "done"
    assert done.cluster_run == begun.cluster_run
    assert rig.rows()["cluster_runs"] == 1


def test_deleted_clips_and_people_are_out_of_old_reports(rig: ReportRig) -> None:
    ids = rig.add(60)
    report = rig.made(rig.reports.begin("All", ClipFilter(), KMEANS))
    told = rig.reports.content(report.id)
    gone = told["clusters"][0]["exemplars"][0]
    rig.forget([gone])
    after = rig.reports.content(report.id)
    assert all(gone not in one["exemplars"] for one in after["clusters"])
    assert gone not in after["map"]["clip_ids"]
    rig.forget(ids)
    after = rig.reports.content(report.id)
    assert all(not one["customers"] and not one["agents"] for one in after["clusters"])
    with rig.store.read() as session:
        kept = session.scalar(text("SELECT CAST(figures AS TEXT) FROM reports"))
    assert "customer " not in str(kept)


def test_a_report_goes_with_its_clusters(rig: ReportRig) -> None:
    rig.add(60)
    report = rig.made(rig.reports.begin("All", ClipFilter(), KMEANS))
    assert report.cluster_run is not None
    with pytest.raises(Conflict, match=f"report {report.id}"):
        rig.runs.remove(report.cluster_run)
    rig.reports.remove(report.id)
    assert set(rig.rows().values()) == {0}
    with pytest.raises(NotFound):
        rig.reports.get(report.id)


def test_one_that_is_queued_can_be_deleted(rig: ReportRig) -> None:
    rig.add(60)
    report = rig.reports.begin("All", ClipFilter(), KMEANS)
    with pytest.raises(Conflict, match="queued"):
        rig.reports.content(report.id)
    rig.reports.work()
    rig.reports.remove(report.id)
    rig.runs.work()
    rig.reports.work()
    assert set(rig.rows().values()) == {0}


def test_old_reports_are_removed(rig: ReportRig) -> None:
    rig.add(5)
    old = rig.made(rig.reports.begin("Old", ClipFilter(), KMEANS))
    new = rig.made(rig.reports.begin("New", ClipFilter(), KMEANS))
    with rig.store.write() as session:
        reports.end(
            session, old.id, "done", dt.datetime.now(dt.UTC) - dt.timedelta(days=31), figures={}
        )
    rig.reports.expire()
    assert [one.id for one in rig.reports.page(10, None, None)] == [new.id]


def test_filters_and_period_hold(rig: ReportRig) -> None:
    rig.add(60, seed=1)
    wanted = ClipFilter(until=SLOT - 52 * 10 * WEEK)
    report = rig.made(rig.reports.begin("None", wanted, KMEANS))
    assert report.filters == to_json(wanted)
    assert rig.reports.content(report.id)["summary"] == ["No clips match in this period."]

"""Reports and schedules over HTTP, and the page as a browser sees it."""

from __future__ import annotations

import csv
import html.parser
import io
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from app.domain import LABELS
from app.http.report_csv import csv_of
from app.http.report_page import page_of
from tests.browser import CHROMIUM, needs_chromium
from tests.service import Service

HOSTILE = "<script>alert(1)</script>\"'&"


def content(**changes: Any) -> dict[str, Any]:
    """Of a report with much in it."""
    mix = dict.fromkeys(LABELS, 0.0) | {"angry": 0.6, "sad": 0.25, "neutral": 0.15}

    def cluster(number: int, **more: Any) -> dict[str, Any]:
        return {
            "lasting_id": number + 4,
            "cluster": number,
            "name": f"angry {number}",
            "size": 1200 - 50 * number,
            "size_before": 600,
            "share": 0.2,
            "emotions": mix,
            "dominant_emotion": "angry",
            "mean_confidence": 0.81,
            "cohesion": 0.6,
            "negativity": 0.85,
            "trend": 1.9 - number / 10,
            "priority": 0.2 * 0.85 * (1.9 - number / 10),
            "first_week": "2026-04-27",
            "weeks": [40 + (7 * (week + number)) % 23 for week in range(8)],
            "exemplars": [10 * number + 1, 10 * number + 2],
            "customers": [{"id": f"customer {number}", "clips": 30, "share": 0.1, "lift": 2.0}],
            "agents": [],
            **more,
        }

    clusters = [cluster(number) for number in range(11)]
    count = 400
    return {
        "id": 7,
        "name": "Weekly",
        "created": "2026-06-29T07:00:05+00:00",
        "schedule_id": 1,
        "slot": "2026-06-29T07:00:00+00:00",
        "since": "2026-06-22T07:00:00+00:00",
        "until": "2026-06-29T07:00:00+00:00",
        "filters": {"tag": ["billing"], "since": "2026-06-22T07:00:00+00:00"},
        "model": {"id": "test/model", "digest": "f", "dimension": 3, "bundled": False},
        "cluster_run": 3,
        "previous": 6,
        "message": None,
        "summary": ["6,000 clips, 12% more than in the report before.", "New: “angry 3”."],
        "clips": 6000,
        "emotions": {"angry": 3600, "sad": 1500, "neutral": 900},
        "negative_emotions": ["angry", "sad"],
        "negativity": 0.85,
        "before": {"clips": 5300, "negativity": 0.7},
        "outliers": 12,
        "silhouette": 0.4,
        "events": [],
        "clusters": clusters,
        "history": [
            {"id": n, "slot": f"2026-06-{n:02}T07:00:00+00:00", "clips": 9, "negativity": n / 40}
            for n in (1, 8, 15, 22)
        ],
        "map": {
            "clip_ids": list(range(count)),
            "x": [((n * 37) % 100) / 50 - 1 for n in range(count)],
            "y": [((n * 61) % 100) / 50 - 1 for n in range(count)],
            "clusters": [None if n % 13 == 12 else n % 13 % 11 + 4 for n in range(count)],
            "emotions": [LABELS[n % 9] for n in range(count)],
        },
        **changes,
    }


class Tags(html.parser.HTMLParser):
    """Every tag and address of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("href", "src", "xlink:href")]
        assert not [k for k, _ in attrs if k.startswith("on")]


def test_the_page_asks_for_nothing_and_links_to_clips() -> None:
    page = Tags(page_of(content()))
    assert not {"script", "link", "img", "iframe", "object"} & (set(page.tags) - {"link"})
    assert [a for a in page.addresses if a.startswith("..")][:2] == [
        "../clips/1/audio",
        "../clips/1",
    ]
    assert all(a.startswith(("..", "#", "data:")) for a in page.addresses)
    assert "http://" not in page_of(content())
    assert "https://" not in page_of(content())


def test_nothing_that_a_user_wrote_is_taken_for_html() -> None:
    clusters = content()["clusters"]
    for one in clusters:
        one["name"] = HOSTILE
        one["customers"] = [{"id": HOSTILE, "clips": 1, "share": 1.0, "lift": 1.0}]
    told = content(
        name=HOSTILE,
        clusters=clusters,
        summary=[HOSTILE],
        filters={"customer_id": HOSTILE, "tag": [HOSTILE], f"meta.{HOSTILE}": HOSTILE},
        model={"id": HOSTILE},
    )
    page = page_of(told)
    assert "<script" not in page
    assert "script" not in Tags(page).tags
    assert page.count("&lt;script&gt;") > 20


@pytest.mark.parametrize(
    "changes",
    [
        {"clusters": [], "map": {k: [] for k in ("clip_ids", "x", "y", "clusters", "emotions")}},
        {"negativity": None, "emotions": {}, "before": None, "history": [], "slot": None},
        {"since": None, "until": None, "filters": {}, "outliers": None, "model": None},
    ],
)
def test_a_page_of_less_is_one_too(changes: dict[str, Any]) -> None:
    assert Tags(page_of(content(**changes))).tags.count("html") == 1


def test_the_table_is_no_formula() -> None:
    clusters = content()["clusters"]
    for one, name in zip(clusters, ("=1+1", "+1", "-1", "@x", "\t=1", 'a, "b"'), strict=False):
        one["name"] = name
        one["customers"] = [{"id": name, "clips": 1, "share": 1.0, "lift": 1.0}]
    rows = list(csv.DictReader(io.StringIO(csv_of(content(clusters=clusters)))))
    assert [row["name"] for row in rows][:6] == ["'=1+1", "'+1", "'-1", "'@x", "'\t=1", 'a, "b"']
    assert [row["customers"] for row in rows][:6] == [row["name"] for row in rows][:6]
    assert float(rows[0]["priority"]) == pytest.approx(0.323)
    assert rows[0]["exemplars"] == "1 2"


@needs_chromium
def test_a_browser_without_network_shows_the_page_without_an_error(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    page, picture = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(page_of(content()), "utf-8")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--v=0",
            "--window-size=1120,2000",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    assert picture.stat().st_size > 20_000
    if keep := os.environ.get("EMOSEEK_TEST_SCREENSHOT"):
        shutil.copy(picture, keep)


def post(service: Service, path: str, body: dict[str, Any]) -> requests.Response:
    return service.http.post(f"{service.url}/api/v1{path}", json=body)


def made(service: Service, body: dict[str, Any]) -> dict[str, Any]:
    answer = post(service, "/reports", body)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    give_up = time.monotonic() + 90
    while told["state"] in ("queued", "running"):
        assert time.monotonic() < give_up
        time.sleep(0.1)
        told = service.get(f"/reports/{told['id']}").json()
    return told


def test_a_report_from_clips_to_page(service: Service, audio: Path) -> None:
    path = audio / "calm_voice_a.mp3"
    for number in range(20):
        service.store(path, customer_id="=<b>reported", call_id=f"reported {number}")
    report = made(service, {"name": "<i>Mine", "filters": {"customer_id": "=<b>reported"}})
    assert report["state"] == "done", report["message"]
    base = f"{service.url}/api/v1/reports/{report['id']}"
    told = service.http.get(f"{base}.json").json()
    assert told["clips"] == 20
    page = service.http.get(f"{base}.html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;i&gt;Mine" in page.text
    assert "<b>reported" not in page.text
    table = service.http.get(f"{base}.csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert "=<b>reported" not in re.split(r"[,\r\n]", table.text)
    listed = service.get("/reports", limit=1).json()
    assert listed["reports"][0]["id"] == report["id"]
    assert service.http.delete(base).status_code == 204
    for form in ("", ".json", ".html", ".csv"):
        assert service.http.get(base + form).status_code == 404


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"filters": {"emotoin": "sad"}}, "filters"),
        ({"settings": {"algorithm": "dbscan"}}, "settings.algorithm"),
        ({"settings": {"n_clusters": 3}}, "settings"),
        ({"name": ""}, "name"),
        ({"nmae": "x"}, "nmae"),
    ],
)
def test_a_wish_that_is_not_valid_is_named(
    service: Service, body: dict[str, Any], named: str
) -> None:
    answer = post(service, "/reports", body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(named)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 7 * * *", "time_zone": "Nowhere"}, "time_zone"),
        ({"cron": "0 7 * * *", "filters": {"since": "2026-01-01T00:00:00Z"}}, "filters"),
        ({"cron": "0 7 * * *", "catch_up": 0}, "catch_up"),
        ({}, "cron"),
    ],
)
def test_a_schedule_that_is_not_valid_is_named(
    service: Service, body: dict[str, Any], named: str
) -> None:
    before = service.get("/schedules").json()
    answer = post(service, "/schedules", body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(named)
    assert service.get("/schedules").json() == before


def test_a_schedule_is_added_changed_and_deleted(service: Service) -> None:
    body = {"cron": "0 7 * * MON", "time_zone": "Europe/Berlin", "filters": {"tag": "billing"}}
    answer = post(service, "/schedules", body)
    assert answer.status_code == 201, answer.text
    added = answer.json()
    assert added["filters"] == {"tag": ["billing"]}
    assert added["last_run"] is None
    url = f"{service.url}/api/v1/schedules/{added['id']}"
    changed = service.http.patch(url, json={"enabled": False}).json()
    assert changed == added | {"enabled": False, "next_run": None}
    assert service.http.patch(url, json={}).status_code == 422
    assert service.http.patch(url, json={"cron": "x"}).status_code == 422
    assert service.http.get(url).json() == changed
    assert changed in service.get("/schedules").json()["schedules"]
    assert service.http.delete(url).status_code == 204
    assert service.http.get(url).status_code == 404

"""The page's tabs as a visitor uses them, in a real browser against a real service."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import needs_chromium
from tests.service import Service
from tests.ui.conftest import HOSTILE, done, fill
from tests.ui.visit import DESKTOP, PHONE, TABS, Visit

pytestmark = needs_chromium

Begin = Callable[..., Visit]
PLACES = (*TABS, "clip/1", "clusters/1", "reports/1", "customers/bert", "agents/x")


def test_every_tab_opens(visit: Begin) -> None:
    with visit() as at:
        at.open("#/status")
        for name in TABS:
            page = at.tab(name)
            expect(page.locator("h1")).to_have_text(name.capitalize())
            expect(page.locator("h1")).to_be_focused()
            expect(page.locator("main [role=alert]")).to_have_count(0)
            assert page.locator("main").inner_text().count("\n") > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_keeps_people_out_and_nothing_sticks_out(
    visit: Begin, window: dict[str, int], scheme: str
) -> None:
    with visit(viewport=window, color_scheme=scheme) as at:
        for place in PLACES:
            at.open(f"#/{place}")
            assert at.barriers() == [], place
            assert at.overflow() == 0, place


def test_the_library_is_filtered_as_the_api_filters(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/library")
        emotion = at.service.get("/clips/5").json()["emotion"]
        count = at.service.get("/clips/count", emotion=emotion).json()["count"]
        page.check(f"[name=emotion][value={emotion}]")
        expect(page.locator("[data-count]")).to_have_attribute("data-count", str(count))
        assert page.url.endswith(f"#/library?emotion={emotion}")
        page.go_back()
        expect(page.locator("[data-count]")).to_have_attribute("data-count", "33")
        # What people wrote is text, whatever it looks like.
        page.goto(f"{at.service.url}/#/library")
        page.locator("summary", has_text="More filters").click()
        page.fill("[name=customer_id]", HOSTILE)
        page.click("text=Apply")
        expect(page.locator("[data-count]")).to_have_attribute("data-count", "20")
        expect(page.locator("tbody td", has_text=HOSTILE)).to_have_count(20)
        expect(page.locator("main img")).to_have_count(0)


def test_a_clip_is_changed_and_deleted(visit: Begin, audio: Path) -> None:
    clip_id = None
    with visit(refusals=(404,)) as at:
        clip_id = at.service.store(audio / "short_call_8k_s16.wav", tags=["one, with a comma"])
        page = at.open(f"#/clip/{clip_id}")
        page.click("text=Edit")
        page.fill("[name=customer_id]", "kept")
        page.click("text=Save")
        expect(page.locator("[data-fact=customer_id]")).to_contain_text("kept")
        assert at.service.get(f"/clips/{clip_id}").json()["tags"] == ["one, with a comma"]
        page.click("text=Edit")
        page.fill("[name=tags]", "b, a")
        page.fill("[name=recorded_at]", "2026-03-02T20:30")
        page.click("text=Save")
        expect(page.locator("[data-fact=recorded_at]")).to_contain_text("2 Mar 2026, 20:30")
        expect(page.locator("[data-fact=tags]")).to_have_text("Tagsa b")
        assert at.service.get(f"/clips/{clip_id}").json()["tags"] == ["a", "b"]
        page.click("[data-part=clip] >> text=Delete")
        page.click("dialog >> text=Cancel")
        expect(page.locator("[data-part=clip] >> text=Delete")).to_be_focused()
        assert at.service.get(f"/clips/{clip_id}").status_code == 200
        page.click("[data-part=clip] >> text=Delete")
        page.click("dialog [data-confirm]")
        expect(page.locator("[data-count]")).to_be_visible()
        assert at.service.get(f"/clips/{clip_id}").status_code == 404
        page = at.open(f"#/clip/{clip_id}")
        expect(page.locator("[role=alert]")).to_contain_text("This does not exist, or was deleted.")


def test_a_dismissed_duplicate_stays_away_after_a_restart(
    browser: Browser, start: Callable[..., Service], audio: Path
) -> None:
    service = start()
    fill(service, audio)
    with Visit(browser, service) as at:
        page = at.open("#/duplicates")
        group = page.locator("[data-group^='1-2']")
        expect(group).to_be_visible()
        many = page.locator("[data-group]").count()
        group.locator("[data-action=dismiss]").click()
        expect(group).to_have_count(0)
        expect(page.locator("[data-group]")).to_have_count(many - 1)
    service.stop()
    service.start()
    with Visit(browser, service) as at:
        page = at.open("#/duplicates")
        expect(page.locator("[data-group]")).to_have_count(many - 1)
        expect(page.locator("[data-group^='1-2']")).to_have_count(0)
        # And the others in bulk: all but the keepers deleted.
        page.check("[data-select=all]")
        page.click("[data-bulk=delete]")
        page.click("dialog [data-confirm]")
        expect(page.locator("[data-group]")).to_have_count(0)
        left = service.get("/clips/count").json()["count"]
        assert left == 3 + (many - 1)  # a keeper each


def test_a_cluster_is_opened_and_a_point_of_the_map_played(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/clusters/1")
        run = at.service.get("/clusters/1").json()
        expect(page.locator("[data-cluster]")).to_have_count(len(run["clusters"]))
        page.click("[data-open='0']")
        opened = page.locator("[data-part=cluster]")
        expect(opened.locator("h2")).to_be_focused()
        exemplars = run["clusters"][0]["representatives"]
        expect(opened.locator("tbody [data-clip]")).to_have_count(len(exemplars))
        opened.locator("[data-action=members]").click()
        size = min(20, run["clusters"][0]["size"])
        expect(opened.locator("tbody [data-clip]")).to_have_count(len(exemplars) + size)

        page.select_option("[data-choice=colour]", "emotion")
        page.locator("canvas").focus()
        page.keyboard.press("+")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("[data-part=chosen] a")).to_be_visible()  # told of before it is played
        expect(page.locator(".playing")).to_have_count(0)
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('.playing audio')?.currentTime > 0")
        page.keyboard.press("0")
        heard = re.search(r"Clip (\d+)", page.locator("[data-part=chosen]").inner_text())
        assert heard is not None
        assert at.service.get(f"/clips/{heard[1]}").status_code == 200


def test_a_run_with_other_settings(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/clusters")
        page.locator("summary", has_text="New run").click()
        page.select_option("[name=algorithm]", "kmeans")
        page.fill("[name=n_clusters]", "3")
        page.select_option("[name=previous]", "1")
        page.click("text=Begin")
        expect(page.locator("[data-part=run]")).to_have_attribute("data-state", "done")
        expect(page.locator("[data-cluster]")).to_have_count(3)
        expect(page.locator("[data-part=events]")).to_be_visible()
        run_id = int(page.url.rpartition("/")[2])
        expect(page.locator(f"[data-choice=run] option[value='{run_id}']")).to_contain_text("done")
        page.click("text=Delete this run")
        page.click("dialog [data-confirm]")
        expect(page.locator(f"[data-choice=run] option[value='{run_id}']")).to_have_count(0)
        assert at.service.get(f"/clusters/{run_id}").status_code == 404


def test_a_report_is_run_and_read(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/reports")
        page.fill("[data-form=report] [name=name]", "From the page")
        page.click("[data-form=report] button.main")
        row = page.locator("[data-report]", has_text="From the page").first
        expect(row).to_have_attribute("data-state", "done")
        report_id = row.get_attribute("data-report")
        content = (
            done(at.service, f"/reports/{report_id}")
            and at.service.get(f"/reports/{report_id}.json").json()
        )
        row.locator("a").first.click()
        told = page.locator("[data-part=report]")
        for sentence in content["summary"]:
            expect(told).to_contain_text(sentence)
        for cluster in content["clusters"]:
            expect(told).to_contain_text(cluster["name"])
        with page.expect_download() as started:
            told.locator("[data-download=html]").click()
        saved = Path(started.value.path()).read_text("utf-8")
        assert "<h1>From the page</h1>" in saved
        assert f'href="{at.service.url}/api/v1/clips/' in saved  # they lead here from anywhere
        assert 'href="../' not in saved


def test_a_schedule_for_who_knows_no_cron(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/reports")
        before = at.service.get("/schedules").json()["schedules"]
        page.click("[data-add=schedule]")
        form = page.locator("[data-form=schedule]")
        form.locator("[name=name]").fill("Mondays")
        form.locator("button.main").click()
        expect(page.locator("[data-schedule]")).to_have_count(len(before) + 1)
        [added] = [
            one
            for one in at.service.get("/schedules").json()["schedules"]
            if one["name"] == "Mondays"
        ]
        assert added["next_run"] is not None
        at.service.http.delete(f"{at.service.url}/api/v1/schedules/{added['id']}")


def test_a_customer_over_time(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/customers")
        row = page.locator("[data-person]", has_text=HOSTILE).first
        row.locator("a").first.click()
        person = page.locator("[data-part=person]")
        expect(person).to_contain_text(HOSTILE)
        expect(person.locator(".u-over").first).to_be_visible()
        expect(page.locator("main img")).to_have_count(0)
        at.open("#/agents")
        expect(page.locator("[data-person='agent 1']")).to_be_visible()


def test_the_status_tells_of_the_model_and_the_index(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/status")
        status = at.service.get("/status").json()
        expect(page.locator("[data-part=model]")).to_contain_text(status["model"]["id"])
        expect(page.locator("[data-part=index]")).to_contain_text(str(status["index"]["size"]))
        expect(page.locator(".banner")).to_contain_text("small bundled model")
        page.locator(".banner summary").click()
        expect(page.locator(".banner")).to_contain_text("emoseek models pull")


def test_by_keyboard_alone(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/library")
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("To the content")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_be_focused()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.locator("[data-play]:focus").count():
                break
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('.playing audio')?.currentTime > 0")


def test_the_language_is_the_browsers_and_can_be_switched(visit: Begin) -> None:
    with visit(locale="zh-CN") as at:
        page = at.open("#/library")
        expect(page.locator("h1")).to_have_text("录音库")
        at.open("#/clusters/1")
        page.select_option("[data-choice=colour]", "emotion")
        expect(page.locator("[data-part=map] .legend")).to_contain_text("生气")
        page.select_option("[data-choice=language]", "en")
        expect(page.locator("[data-part=map] .legend")).to_contain_text("angry")
        page.select_option("[data-choice=language]", "zh")
        at.open("#/library")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.select_option("[data-choice=language]", "en")
        expect(page.locator("h1")).to_have_text("Library")
        page.reload()
        expect(page.locator("h1")).to_have_text("Library")
        page.select_option("[data-choice=language]", "zh")
        for name in TABS:
            at.tab(name)
            latin = re.findall(r"\b[a-z]+\.[a-z_]+\b", page.locator("main").inner_text())
            assert not [word for word in latin if "reindex" not in word], (
                name
            )  # a key without words


def test_times_are_the_visitors(visit: Begin, audio: Path) -> None:
    with visit(timezone_id="America/New_York") as at:
        page = at.open("#/recognise")
        page.locator("summary", has_text="What is known").click()
        page.fill("[name=recorded_at]", "2026-03-02T20:30")
        page.set_input_files("input[type=file]", audio / "short_call_8k_s16.wav")
        result = page.locator("[data-part=result]")
        expect(result.locator("[data-fact=recorded_at]")).to_contain_text("2 Mar 2026, 20:30")
        clip_id = int(result.get_attribute("data-clip") or 0)
        clip = at.service.get(f"/clips/{clip_id}").json()
        assert clip["recorded_at"].startswith("2026-03-03T01:30:00")
        page = at.open("#/library?since=2026-03-03T01:30:00Z&until=2026-03-03T01:31:00Z")
        expect(page.locator("[data-count]")).to_have_attribute("data-count", "1")
        expect(page.locator("[name=since]")).to_have_value("2026-03-02T20:30")
        at.service.http.delete(f"{at.service.url}/api/v1/clips/{clip_id}")
        run = at.service.get("/clusters/1").json()
        first = dt.date.fromisoformat(run["clusters"][0]["trend"]["first_week"])
        page = at.open("#/clusters/1")
        page.click("[data-open='0']")
        expect(page.locator("[data-part=cluster]")).to_contain_text(f"from {first.day} ")


def test_the_colours_can_be_chosen(visit: Begin) -> None:
    with visit(color_scheme="light") as at:
        page = at.open("#/status")
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(paper)
        page.select_option("[data-choice=theme]", "dark")
        expect(page.locator("html[data-theme=dark]")).to_have_count(1)
        assert page.evaluate(paper) != light
        page.reload()
        expect(page.locator("html[data-theme=dark]")).to_have_count(1)
        assert page.evaluate(paper) != light
        page.select_option("[data-choice=theme]", "auto")
        expect(page.locator("html[data-theme=auto]")).to_have_count(1)
        assert page.evaluate(paper) == light

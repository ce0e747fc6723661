"""Files and recordings that a visitor gives to the page, and how they sound there."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import expect

from tests.browser import needs_chromium
from tests.ui.visit import Visit

pytestmark = needs_chromium

Begin = Callable[..., Visit]


def test_a_file_is_recognised_and_a_neighbour_played(visit: Begin, audio: Path) -> None:
    with visit() as at:
        page = at.open("#/recognise")
        page.set_input_files("input[type=file]", audio / "calm_voice_a.mp3")
        result = page.locator("[data-part=result]")
        expect(result).to_be_visible()
        clip_id = int(result.get_attribute("data-clip") or 0)
        stored = at.service.get(f"/clips/{clip_id}").json()
        first = result.locator("[data-score]").first
        expect(first).to_have_attribute("data-score", stored["emotion"])
        expect(first).to_contain_text(f"{100 * stored['confidence']:.1f}%")
        assert stored["duplicate_of"] is not None
        expect(result).to_contain_text(f"Clip {stored['duplicate_of']}")

        wave, chart = result.locator(".wave .drawn"), result.locator(".chart .u-over")
        expect(result.locator(".chart [data-series]")).to_have_count(9)
        wave.hover()
        expect(result.locator(".hint")).to_have_text(re.compile(r"^\d\.\d s · \w+ \d+%$"))
        chart.hover()
        expect(result.locator(".chart .pointed")).to_have_text(re.compile(r"^Time: \d\.\d s$"))
        expect(result.locator("[data-series='0'] .value")).to_have_text(re.compile(r"^\d+%$"))
        result.locator("[data-wave-play]").click()
        expect(result.locator("[data-wave-play]")).to_have_attribute("aria-label", "Pause")

        [nearest] = at.service.neighbours(clip_id, k=1)
        row = page.locator(f"[data-part=neighbours] [data-clip='{nearest}']")
        row.locator("[data-play]").click()
        page.wait_for_function(
            "() => { const it = document.querySelector('.playing audio');"
            " return it && !it.paused && it.currentTime > 0.1 }"
        )
        expect(row.locator("[data-play]")).to_have_attribute("aria-pressed", "true")
        at.service.http.delete(f"{at.service.url}/api/v1/clips/{clip_id}")


def test_one_sound_at_a_time(visit: Begin, audio: Path) -> None:
    call = soundfile.read(audio / "stereo_call_48k.flac")[0]
    long = io.BytesIO()
    soundfile.write(long, np.concatenate([call] * 40), 48_000, format="FLAC")
    with visit() as at:
        clip_id, twin = (
            at.service.post_bytes(long.getvalue(), "long.flac").json()["clip_id"] for _ in range(2)
        )
        assert at.service.get(f"/clips/{clip_id}").json()["duration"] > 40
        page = at.open(f"#/clip/{clip_id}")
        expect(page.locator(".strip span").nth(1)).to_be_visible()  # of several segments
        wave, other = (
            page.locator("[data-wave-play]"),
            page.locator(f"[data-part=neighbours] [data-play='{twin}']"),
        )
        wave.click()
        expect(wave).to_have_attribute("aria-label", "Pause")
        other.click()
        expect(other).to_have_attribute("aria-pressed", "true")
        expect(wave).to_have_attribute("aria-label", "Play", timeout=2000)
        wave.click()
        expect(wave).to_have_attribute("aria-label", "Pause")
        expect(other).to_have_attribute("aria-pressed", "false", timeout=2000)
        for one in (clip_id, twin):
            at.service.http.delete(f"{at.service.url}/api/v1/clips/{one}")


def test_what_is_downloaded_is_the_apis(visit: Begin) -> None:
    with visit() as at:
        page = at.open("#/clip/1")
        for what, path in (("embedding", "/clips/1/embedding"), ("audio", "/clips/1/audio")):
            with page.expect_download() as started:
                page.click(f"[data-download={what}]")
            assert Path(started.value.path()).read_bytes() == at.service.get(path).content


def test_several_files_one_of_them_no_audio(visit: Begin, audio: Path) -> None:
    with visit(refusals=(415,)) as at:
        before = at.service.files()
        page = at.open("#/recognise")
        page.locator("summary", has_text="What is known").click()
        page.fill("[name=customer_id]", "from the page")
        page.fill("[name=tags]", "one, two")
        page.set_input_files(
            "input[type=file]",
            [
                {"name": name, "mimeType": "audio/wav", "buffer": content}
                for name, content in {
                    "a.flac": (audio / "happy_voice_b.flac").read_bytes(),
                    "=evil.wav": b"no audio at all",
                    "empty.wav": b"",
                    "b.wav": (audio / "short_call_8k_s16.wav").read_bytes(),
                }.items()
            ],
        )
        expect(page.locator("[data-part=uploads]")).to_have_attribute("data-through", "4")
        wrong = page.locator("[data-upload='=evil.wav']")
        expect(wrong).to_have_attribute("data-state", "failed")
        expect(wrong).to_contain_text("This is not audio that the service can read.")
        expect(wrong).to_contain_text("Use WAV, MP3, M4A, FLAC or OGG")
        expect(page.locator("[data-upload='empty.wav']")).to_contain_text("nothing to hear")
        with page.expect_download() as started:
            page.click("[data-part=uploads] [data-download=csv]")
        table = Path(started.value.path()).read_text("utf-8-sig").splitlines()
        assert len(table) == 5
        assert table[0].startswith("file,clip_id,emotion,confidence,angry,")
        assert table[2].startswith("'=evil.wav,,")  # no formula

        # The fields go with each file until they are emptied.
        page.click("nav [data-tab=status]")
        page.click("nav [data-tab=recognise]")
        expect(page.locator("[name=customer_id]")).to_have_value("from the page")
        for _ in range(2):
            page.fill("[name=tags]", "three")
            page.click("[data-action=empty]")
            expect(page.locator("[name=customer_id]")).to_have_value("")
            expect(page.locator("[name=tags]")).to_have_value("")

        clips = at.service.get("/clips", customer_id="from the page").json()["clips"]
        assert len(clips) == 2
        assert all(clip["tags"] == ["one", "two"] for clip in clips)
        page = at.open("#/library?customer_id=from+the+page")
        expect(page.locator("tbody [data-clip]")).to_have_count(2)
        at.service.store(audio / "short_call_8k_u8.wav", customer_id="from the page")
        page.click("text=Delete all that match")
        # As many as match now, not when they were listed.
        expect(page.locator("dialog")).to_contain_text("3 clips match: Customer: from the page.")
        page.click("dialog [data-confirm]")
        expect(page.locator("[data-count]")).to_have_attribute("data-count", "0")
        assert at.service.files() == before  # of refused and of deleted files nothing is left


def test_a_recording_from_the_microphone(visit: Begin) -> None:
    with visit(permissions=["microphone"]) as at:
        page = at.open("#/recognise")
        page.click("[data-action=record]")
        expect(page.locator("[role=timer]")).to_have_text(re.compile(r"[1-9]\.\d s"))
        page.click("[data-action=record]")
        result = page.locator("[data-part=result]")
        expect(result).to_be_visible()
        clip = at.service.get(f"/clips/{result.get_attribute('data-clip')}").json()
        assert 0.9 < clip["duration"] < 8
        at.service.http.delete(f"{at.service.url}/api/v1/clips/{clip['clip_id']}")

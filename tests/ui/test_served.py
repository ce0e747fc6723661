"""The page's files as the service gives them out, without a browser."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from app import errors
from app.domain import LABELS
from app.http import report_plots
from app.ui import page
from tests.service import Service

SCRIPTS = sorted(path for path in page.FILES.rglob("*.js") if path.parent.name != "vendor")
EN, ZH = (page.FILES / "languages" / f"{name}.js" for name in ("en", "zh"))


def test_the_page_is_open_and_nothing_else_is(start: Callable[..., Service]) -> None:
    service = start(EMOSEEK_API_KEY="long-enough")
    for path in ("/", "/page/main.js", "/page/vendor/preact.js", "/page/style.css", "/healthz"):
        assert requests.get(service.url + path).status_code == 200, path
        assert requests.head(service.url + path).status_code == 200, path
    for path in (
        *("/api/v1/status", "/api/v1/clips/1/frames", "/readyz", "/docs", "/openapi.json", "/page"),
        *("//", "/pages/", "/api/v1/../../page/", "/metrics"),
    ):
        asked = requests.Request("GET", service.url).prepare()
        asked.url = service.url + path  # as it is: requests would tidy it
        assert requests.Session().send(asked, allow_redirects=False).status_code == 401, path


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/page/",
            "/page/no.js",
            "/page/../page.py",
            "/page/%2e%2e/page.py",
            "/page/..%2fpage.py",
        ),
        *("/page/%2e%2e/%2e%2e/settings.py", "/page//etc/passwd", "/page/vendor"),
        # The page itself goes with headers, at / only.
        *("/page/index.html", "/page/index.html/", "/page/../index.html"),
    ],
)
def test_no_other_file_is_given_out(service: Service, path: str) -> None:
    asked = requests.Request("GET", service.url).prepare()
    asked.url = service.url + path
    answer = requests.Session().send(asked)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_its_headers_let_nothing_in(service: Service) -> None:
    headers = requests.get(service.url).headers
    rules = {
        name: rest for name, *rest in map(str.split, headers["content-security-policy"].split(";"))
    }
    assert rules["default-src"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert [one for one in rules["script-src"] if not one.startswith("'sha256-")] == ["'self'"]
    assert not [one for its in rules.values() for one in its if "://" in one or one == "*"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_file_that_was_had_before_is_not_sent_again(service: Service) -> None:
    first = requests.get(f"{service.url}/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith("text/javascript")
    again = requests.get(
        f"{service.url}/page/main.js", headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_libraries_are_what_was_published() -> None:
    vendor = page.FILES / "vendor"
    table = (vendor / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w.]+) [\d.]+ \|.*\| ([0-9a-f]{64}) \|$", table, re.M)
    for name, _, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
    code = {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    assert {name for name, _, _ in rows} == code
    for _, package, _ in rows:
        assert (vendor / f"LICENSE.{package.removesuffix('.js')}").is_file()


def words(path: Path) -> dict[str, str]:
    """{key: words} of a catalogue; of a plural, its forms behind the key."""
    found, above = {}, []
    text = path.read_text("utf-8").partition("export default {")[2]
    token = re.compile(
        r"(?P<close>\})|(?:\"(?P<quoted>[^\"]+)\"|(?P<name>\w+)):\s*(?:(?P<open>\{)|"
        r"(?P<words>\"(?:[^\"\\]|\\.)*\"))"
    )
    for match in token.finditer(text):
        if match["close"]:
            if above:
                above.pop()
            continue
        key = match["quoted"] or match["name"]
        if match["open"]:
            above.append(key)
        else:
            found[".".join([*above, key])] = json.loads(match["words"])
    return found


def test_both_languages_have_the_same_words() -> None:
    en, zh = words(EN), words(ZH)
    assert len(en) > 300
    plain = {
        key.removesuffix(".one").removesuffix(".other") for key in en if key != "emotion.other"
    }
    assert plain == {
        key.removesuffix(".one").removesuffix(".other") for key in zh if key != "emotion.other"
    }
    for key, text in zh.items():
        english = en.get(key) or en[f"{key}.other"]
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", english)), key


def test_every_key_that_is_used_has_words() -> None:
    known = words(EN)
    keys = {key.removesuffix(".one").removesuffix(".other") for key in known} | set(known)
    used = {
        (path.name, key)
        for path in SCRIPTS
        for key in re.findall(r"\bt\(\s*\"([\w.-]+)\"", path.read_text("utf-8"))
    }
    assert len(used) > 150
    assert not [one for one in used if one[1] not in keys]


def test_marks_of_emotions_are_those_of_reports() -> None:
    text = (page.FILES / "emotions.js").read_text("utf-8")

    def listed(name: str) -> list[str]:
        start = text.index(f"export const {name} = [")
        return re.findall(r'"([^"]+)"', text[start : text.index("];", start)])

    assert listed("LABELS") == list(LABELS)
    assert listed("COLOURS") == [colour.lower() for colour in report_plots.COLOURS]
    assert listed("SHAPES") == list(report_plots.SHAPES)


def kinds(error: type[errors.EmoseekError]) -> set[str]:
    return {error.type}.union(*map(kinds, error.__subclasses__()))


def test_every_refusal_of_the_service_has_words() -> None:
    known = words(EN)
    of_the_start = {"settings", "data-dir-in-use"}  # no service is there to tell them
    for kind in kinds(errors.EmoseekError) - of_the_start:
        assert f"error.{kind}" in known, kind
        assert f"todo.{kind}" in known, kind


def test_scripts_ask_for_nothing_elsewhere_and_make_no_markup_of_text() -> None:
    for path in (*SCRIPTS, page.FILES.parent / "index.html", page.FILES / "style.css"):
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|url\(|@import", text), path
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(", text
        ), path

"""Headless Chromium, from the system's packages; tests that need it are skipped where it is not."""

from __future__ import annotations

import shutil
from typing import Final

import pytest

from scripts.page_benchmark import browser

CHROMIUM: Final = next(filter(None, map(shutil.which, browser.PROGRAMS)), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

# And a microphone that hums, which nobody is asked for.
ARGUMENTS: Final = [
    *browser.ARGUMENTS,
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]

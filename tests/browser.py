"""Headless Chromium, from the system's packages; tests that need it are skipped where it is not."""

from __future__ import annotations

import shutil
from typing import Final

import pytest

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

# Nothing is looked up or updated elsewhere, and there is a microphone that hums.
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]

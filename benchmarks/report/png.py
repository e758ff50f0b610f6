"""A page as a picture, through a headless chromium if there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1200
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class PictureError(RuntimeError):
    """A browser is missing, or did not make a picture."""


def export(page: Path, target: Path, *, dark: bool = False) -> None:
    """Writes ``page`` as it looks :data:`WIDTH` pixels wide to ``target``, as high as it is.

    Raises:
        PictureError: saying what is missing.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise PictureError(f"no browser for the picture: install chromium, or open {page} yourself")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-browser-") as scratch:
        size = f"--window-size={WIDTH},{_height(browser, page)}"
        _browse(browser, Path(scratch), page, [size, f"--screenshot={target.absolute()}"], dark)
    if not target.exists():
        raise PictureError(f"{browser} made no picture")


def _height(browser: str, page: Path) -> int:
    """How high the page is at :data:`WIDTH`: headless chromium pictures a window, not a page."""
    with tempfile.TemporaryDirectory(prefix="bench-browser-") as scratch:
        measured = Path(scratch) / "measured.html"
        script = "<script>document.title = document.documentElement.scrollHeight</script>"
        measured.write_text(page.read_text(encoding="utf-8") + script, encoding="utf-8")
        dom = _browse(browser, Path(scratch), measured, [f"--window-size={WIDTH},200", "--dump-dom"], False)
    found = re.search(r"<title>(\d+)</title>", dom)
    if found is None:
        raise PictureError(f"{browser} did not lay out {page.name}")
    return int(found[1])


def _browse(browser: str, scratch: Path, page: Path, arguments: list[str], dark: bool) -> str:
    command = [browser, *_FLAGS, f"--user-data-dir={scratch / 'profile'}", *arguments]
    if dark:
        command.append("--blink-settings=preferredColorScheme=0")
    try:
        done = subprocess.run(
            [*command, page.absolute().as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PictureError(f"{browser} did not end") from error
    if done.returncode:
        raise PictureError(f"{browser} failed: {done.stderr[-500:]}")
    return done.stdout

"""A real Chromium without a screen, for tests that open a page: what it logs, what it fetches, what it looks like."""

import base64
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SILENT = 0.1


class Page:
    """One tab of the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, file: Path) -> None:
        """Open a file afresh, and forget what was logged before."""
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.driver.get(file.as_uri())

    def run(self, script: str, *given: Any) -> Any:
        """Run a function's body in the page and return what it returns."""
        return self.driver.execute_script(script, *given)

    def wait(self, script: str, *given: Any, seconds: float = 20) -> Any:
        """Wait until a script returns something true, and return it."""
        return self.until(lambda: self.run(script, *given), what=script, seconds=seconds)

    def until(self, found: Callable[[], Any], *, what: str, seconds: float = 20) -> Any:
        """Wait until a function returns something true, and return it."""
        until = time.monotonic() + seconds
        while not (value := found()):
            if time.monotonic() > until:
                pytest.fail(f"not so after {seconds} s: {what}\n{self.console()}")
            time.sleep(_SILENT)
        return value

    def size(self, width: int, height: int) -> None:
        """Show it on a screen of this size, as a phone's or a desk's."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, medium: str = "", *, scheme: str = "light", motion: str = "no-preference") -> None:
        """Show it as on paper (``print``), in the dark, or to somebody whom motion makes ill."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": features})

    def pdf(self) -> bytes:
        """Print it."""
        answer = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        return base64.b64decode(answer["data"])

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """Take a picture of all of it."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole})
        file.write_bytes(base64.b64decode(shot["data"]))

    def console(self) -> list[str]:
        """Return what was logged since the last look, warnings and errors."""
        return [f"{entry['level']}: {entry['message']}" for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return what it asked for since the last look, beside what it holds itself."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start one browser that keeps everything below a folder; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, found in programs.items() if found is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: pages are not opened in a browser")
    options = webdriver.ChromeOptions()
    for option in (*_OPTIONS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(option)
    options.binary_location = programs["chromium"]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    service = webdriver.ChromeService(executable_path=programs["chromedriver"], env={**os.environ, **home})
    driver = webdriver.Chrome(service=service, options=options)
    try:
        driver.set_page_load_timeout(60)
        yield Page(driver)
    finally:
        driver.quit()


def axe_source() -> str:
    """Return axe-core, the checker of accessibility; skip where it is not installed."""
    import importlib.util

    places = [Path(p) for p in [os.environ.get("DRFARM_AXE", "")] if p]
    places += [Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"]
    package = importlib.util.find_spec("axe_core_python")
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).with_name("axe.min.js"))
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    pytest.skip("axe-core is not installed (npm axe-core, or axe-core-python): accessibility is not checked")

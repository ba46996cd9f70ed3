"""A headless Chromium, installed from Debian's packages where it is missing and this may be done."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # or root may not run it
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser that keeps what pages log; the test is skipped where there is none, but not in CI."""
    browser, driver = _installed()
    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield found
    finally:
        found.quit()


def _installed() -> tuple[str, str]:
    names = ("chromium", "chromedriver")
    if not all(map(shutil.which, names)) and os.geteuid() == 0 and shutil.which("apt-get"):
        apt = ["flock", "/var/tmp/parcae-apt.lock", "apt-get", "-y", "-qq"]  # SLURM's tests install as well
        for words in (["update"], ["install", "--no-install-recommends", "chromium", "chromium-driver"]):
            subprocess.run([*apt, *words], check=True, capture_output=True)
    browser, driver = map(shutil.which, names)
    if browser is None or driver is None:
        missing = "chromium and chromedriver are missing"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return browser, driver

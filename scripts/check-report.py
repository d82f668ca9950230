#!/usr/bin/env python3
"""Looks at a report in a real browser without a window, at phone and desktop width, light and dark.

    pip install playwright            # and a browser: apt-get install chromium, or
    python -m playwright install chromium
    python scripts/check-report.py suffuse-demo/report.html --out shots

Fails if the page is wider than the window, asks any server for anything, writes to the console, hides
text from a screen reader, has too little contrast, or comes out blank. Writes a picture of each.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTHS = {"phone": 390, "desktop": 1280}
SCHEMES = ["light", "dark"]
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]

# Text below this contrast (WCAG 2.2 AA for text of normal size) is hard to read.
LEAST_CONTRAST = 4.5

# Evaluated in the page: text elements whose colour is too close to what lies behind them.
CONTRAST = """(least) => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => {
    const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length && (c.length < 4 || c[3] > 0)) return c;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll('p, li, td, th, dt, dd, span, strong, a, h1, h2, h3, caption, figcaption, summary, code, svg text')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    const front = parse(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(front), luminance(behind(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) bad.push(`${e.tagName} "${e.textContent.trim().slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return bad.slice(0, 5);
}"""

# Text inside of a chart that leaves its picture.
CUT_TEXT = """() => [...document.querySelectorAll('svg text')].filter((t) => {
  const box = t.getBoundingClientRect(), svg = t.closest('svg').getBoundingClientRect();
  return box.left < svg.left - 1 || box.right > svg.right + 1 || box.top < svg.top - 1 || box.bottom > svg.bottom + 1;
}).map((t) => t.textContent)"""

UNNAMED = """() => [...document.querySelectorAll('svg')].filter((s) => {
  const ids = (s.getAttribute('aria-labelledby') || '').split(' ');
  return s.getAttribute('role') !== 'img' || ids.length < 2 || ids.some((i) => !document.getElementById(i));
}).length"""

SECTIONS = "() => [...document.querySelectorAll('nav a')].map((link) => link.getAttribute('href'))"

PARTS_IN_VIEW = "() => [...document.querySelectorAll('svg.chart')].map((s) => s.getBoundingClientRect().width)"


def faults(page, width):
    """What is wrong with a page that stands in a window of this width."""
    found = []
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        found.append(f"the page is {wide} px wide in a window of {width}")
    sections = [link.lstrip("#") for link in page.evaluate(SECTIONS)]
    if len(sections) < 5:
        found.append(f"the page links to {sections} alone")
    for section in sections:
        box = page.locator(f"section#{section}").bounding_box()
        if box is None or box["height"] < 40:
            found.append(f"section {section} is missing or empty")
    if page.evaluate(UNNAMED):
        found.append("a chart has no name for a screen reader")
    cut = page.evaluate(CUT_TEXT)
    if cut:
        found.append(f"text leaves its chart: {cut}")
    widths = page.evaluate(PARTS_IN_VIEW)
    if any(w < 200 for w in widths):
        found.append(f"a chart is too small to read: {widths}")
    found += [f"contrast: {text}" for text in page.evaluate(CONTRAST, LEAST_CONTRAST)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path("report-shots"), help="folder for the pictures")
    parser.add_argument("--browser", help="program to use [default: that of playwright, or chromium on the path]")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser_path = arguments.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            for scheme in SCHEMES:
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1
                )
                page = context.new_page()
                said, asked = [], []
                page.on("console", lambda message: said.append(message.text))
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on("request", lambda request: asked.append(request.url))
                page.goto(arguments.page.resolve().as_uri())
                shot = page.screenshot(full_page=True, path=arguments.out / f"{name}-{scheme}.png")
                wrong = faults(page, width)
                wrong += [f"console: {text}" for text in said]
                wrong += [f"asks for {url}" for url in asked if not url.startswith(("file:", "data:"))]
                # A blank page of this size packs into a few kilobytes.
                if len(shot) < 50_000:
                    wrong.append(f"the picture has only {len(shot)} bytes")
                print(f"{name} {scheme}: {'; '.join(wrong) if wrong else 'good'}")
                failed |= bool(wrong)
                context.close()
        browser.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs the scripts under parity/ again and compares what they write with the committed JSON.

    .venv/bin/python scripts/check-parity.py

A script writes its JSON next to itself. Each runs in a copy of parity/, so that nothing committed
changes. Numbers must agree within a relative 1e-9 (another CPU rounds differently in the last
digits), the rest exactly; the versions that a file names may differ. Listed and not run are scripts
that import a deep learning library, whose tensors are taken as committed, and those that take
arguments, which the tests call themselves.
"""

import ast
import importlib.util
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELATIVE = 1e-9
ABSOLUTE = 1e-12
NOT_IN_VENV = {"torch", "safetensors", "sentence_transformers", "tokenizers", "transformers"}


def imports(script):
    """Top-level names of the modules that a script imports."""
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def takes_arguments(script):
    """Says whether a script reads `sys.argv` without asking whether there is anything in it."""
    text = script.read_text()
    return "sys.argv" in text and "len(sys.argv)" not in text


def differences(committed, fresh, place="$"):
    """Yields a line for each place where two JSON values disagree."""
    if isinstance(committed, dict) and isinstance(fresh, dict):
        for key in sorted(committed.keys() | fresh.keys()):
            if key == "versions":
                continue
            if key not in committed or key not in fresh:
                yield f"{place}.{key}: only in the {'committed' if key in committed else 'fresh'} file"
            else:
                yield from differences(committed[key], fresh[key], f"{place}.{key}")
    elif isinstance(committed, list) and isinstance(fresh, list):
        if len(committed) != len(fresh):
            yield f"{place}: {len(committed)} entries committed, {len(fresh)} fresh"
        for i, pair in enumerate(zip(committed, fresh)):
            yield from differences(*pair, f"{place}[{i}]")
    elif type(committed) is bool or type(fresh) is bool or isinstance(committed, str):
        if committed != fresh:
            yield f"{place}: {committed!r} committed, {fresh!r} fresh"
    elif isinstance(committed, (int, float)) and isinstance(fresh, (int, float)):
        both_nan = math.isnan(committed) and math.isnan(fresh)
        if not both_nan and not math.isclose(committed, fresh, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{place}: {committed!r} committed, {fresh!r} fresh"
    elif committed != fresh:
        yield f"{place}: {committed!r} committed, {fresh!r} fresh"


def main():
    scripts = sorted((ROOT / "parity").rglob("*.py"))
    if not scripts:
        sys.exit("check-parity: no script under parity/")
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "parity"
        shutil.copytree(ROOT / "parity", copy)
        for folder in {script.parent for script in scripts}:
            scripts_here = list(folder.glob("*.py"))
            if not any(imports(s) & NOT_IN_VENV or takes_arguments(s) for s in scripts_here):
                # A file that no script writes any more must not compare equal with itself.
                for committed in folder.glob("*.json"):
                    (copy / committed.relative_to(ROOT / "parity")).unlink()
        for script in scripts:
            name = script.relative_to(ROOT / "parity")
            needed = imports(script)
            if takes_arguments(script):
                print(f"not run  {name}: takes arguments, the tests call it")
                continue
            if needed & NOT_IN_VENV:
                print(f"not run  {name}: imports {', '.join(sorted(needed & NOT_IN_VENV))}")
                continue
            local = {path.stem for path in script.parent.glob("*.py")}
            missing = [m for m in sorted(needed - local) if importlib.util.find_spec(m) is None]
            if missing:
                print(f"FAILED   {name}: {', '.join(missing)} not in scripts/oracles-requirements.txt")
                failures += 1
                continue
            ran = subprocess.run(
                [sys.executable, copy / name], cwd=(copy / name).parent, capture_output=True, text=True
            )
            if ran.returncode != 0:
                print(f"FAILED   {name}: exit code {ran.returncode}\n{ran.stderr}")
                failures += 1
            else:
                print(f"ran      {name}")
        for committed in sorted((ROOT / "parity").rglob("*.json")):
            name = committed.relative_to(ROOT / "parity")
            if not (copy / name).exists():
                print(f"FAILED   {name}: no script writes it")
                failures += 1
                continue
            fresh = json.loads((copy / name).read_text())
            lines = list(differences(json.loads(committed.read_text()), fresh))
            if lines:
                print(f"FAILED   {name}: {len(lines)} differences, the first:\n    " + "\n    ".join(lines[:5]))
                failures += 1
    if failures:
        sys.exit(f"check-parity: {failures} failed")


if __name__ == "__main__":
    main()

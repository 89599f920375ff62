"""What every exporter script shares: its command line, and the manifest beside each model."""
import argparse
import importlib.metadata
import json
import os
import sys
import time
import traceback
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / ".models"


def versions(*packages):
    return {p: importlib.metadata.version(p) for p in packages}


def save(name, about):
    path = MODELS / f"{name}.json"
    path.with_suffix(".tmp").write_text(json.dumps({"name": name, **about}, indent=1) + "\n")
    os.replace(path.with_suffix(".tmp"), path)


def run(table):
    """Exports the models of the table that are named on the command line and not there
    yet. A maker gets the path to write to, and returns the manifest."""
    p = argparse.ArgumentParser()
    p.add_argument("names", nargs="*", help="models, those of other scripts are passed over; without any: all of this script")
    p.add_argument("--force", action="store_true", help="write again what is there")
    p.add_argument("--list", action="store_true")
    a = p.parse_args()
    if a.list:
        print("\n".join(table))
        return
    MODELS.mkdir(exist_ok=True)
    failed = 0
    for name in [n for n in table if n in a.names] if a.names else table:
        path = MODELS / f"{name}.onnx"
        if (MODELS / f"{name}.json").exists() and path.exists() and not a.force:
            continue
        begin = time.time()
        try:
            about = table[name](path)
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}", flush=True)
            failed += 1
            continue
        save(name, about)
        print(f"{name}: {path.stat().st_size / 1e6:.1f} MB, {time.time() - begin:.0f} s", flush=True)
    sys.exit(failed > 0)

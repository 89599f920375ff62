#!/usr/bin/env python3
"""Writes models as real exporters make them to bench/.models: NAME.onnx, and NAME.json
that says what goes in (see feeds.py).

    export.py                     all models that are not there yet
    export.py resnet50 minilm     these
    export.py --list              their names

Run by `make models`, which makes the environments first: PyTorch and scikit-learn share
bench/.venv; TensorFlow and PaddlePaddle have their own. Weights are random (no hub is
needed) but for MiniLM, whose package brings them.
"""
import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = {
    "torch_vision.py": Path(sys.executable),
    "torch_text.py": Path(sys.executable),
    "torch_signal.py": Path(sys.executable),
    "sklearn_models.py": Path(sys.executable),
    "tensorflow_models.py": HERE / ".tensorflow" / "bin" / "python",
    "paddle_models.py": HERE / ".paddle" / "bin" / "python",
    "quantised.py": Path(sys.executable),  # after those that it begins with
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*")
    p.add_argument("--force", action="store_true", help="write again what is there")
    p.add_argument("--list", action="store_true")
    a = p.parse_args()
    failed = 0
    for script, python in SCRIPTS.items():
        if not python.exists():
            print(f"{script}: {python} is not there: run make models", file=sys.stderr)
            failed += 1
            continue
        args = ["--list"] if a.list else [*a.names, *(["--force"] if a.force else [])]
        failed += subprocess.run([python, HERE / "exporters" / script, *args]).returncode != 0
    missing = [n for n in a.names if not (HERE / ".models" / f"{n}.json").exists()]
    if missing:
        print("not made: " + " ".join(missing), file=sys.stderr)
    sys.exit(bool(failed or missing))


if __name__ == "__main__":
    main()

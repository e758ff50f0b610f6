"""What is in the function's image: ``python -m scripts.image.info [IMAGE]`` (``make image-info``).

Layer by layer with their sizes, the models with the sha256 check of every file of theirs, and what the
packages weigh: found by looking into the image, not at what its build meant to put there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.image.build import BUILT, LABEL, ImageError, docker_program

# What the image's own steps copy, by what the history of BuildKit or of the legacy builder says of it.
LAYERS = {
    "dependencies": ("COPY /opt/venv ", " in /opt/venv"),
    "models": ("COPY /bundle/ ", " in models/", " in /var/task/models"),
    "code": ("COPY /out/ ", " in / "),
}
MAX_PACKAGES = 8

# Runs in the image, with nothing but what is in it.
INSPECT = """
import importlib.metadata, json, os, platform, sys
from lambda_app.bundle import Bundle, verify_bundle
from lambda_app.errors import BundleError
contents = {"python": platform.python_version(), "machine": platform.machine(), "models": []}
directory = os.environ.get("MODEL_DIR") or "/var/task/models"
contents["directory"] = directory
try:
    bundle = Bundle.open(directory)
    for model in bundle.models():
        contents["models"].append({
            "task": model.task, "id": model.id, "revision": str(model.source.get("revision") or ""),
            "quantization": model.quantization.scheme, "bits": model.quantization.weight_bits,
            "dimensions": model.dimensions, "max_tokens": model.max_tokens, "fingerprint": model.fingerprint,
            "files": [[file.path, file.bytes] for file in model.files],
        })
    contents["rerank_kind"] = bundle.rerank_kind
    contents["verified_bytes"] = verify_bundle(directory)
except BundleError as error:
    contents["problem"] = error.message
packages = []
for found in importlib.metadata.distributions():
    size = sum(p.stat().st_size for f in found.files or [] if (p := found.locate_file(f)).is_file())
    packages.append([found.metadata["Name"], found.version, size])
contents["packages"] = sorted(packages, key=lambda row: -row[2])
print(json.dumps(contents))
"""


def chosen_image(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """The image that was named, or the one that was built last.

    Raises:
        ImageError: neither is there.
    """
    if arguments:
        return arguments[0]
    if environ.get("IMAGE"):
        return environ["IMAGE"]
    if BUILT.exists():
        return BUILT.read_text(encoding="utf-8").strip()
    raise ImageError("no image was built here yet: `make image` does it, or name one with IMAGE=")


def layers(docker: str, image: str) -> dict[str, int]:
    """Bytes by layer, the base last, from the image's history."""
    contents = output(
        docker, "history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", image
    )
    sizes: dict[str, int] = {}
    for line in contents.splitlines():
        size, _, made = line.partition("\t")
        matching = [name for name, words in LAYERS.items() if any(word in f"{made} " for word in words)]
        name = matching[0] if matching else "base"
        sizes[name] = sizes.get(name, 0) + int(float(size))
    base = sizes.pop("base", 0)
    return {**sizes, "base": base}


def run_inside(docker: str, image: str, script: str) -> Any:
    """What a script prints as JSON in the image, without network and unable to change anything.

    Raises:
        ImageError: it did not run.
    """
    options = ("--rm", "--read-only", "--network", "none", "--cap-drop", "ALL")
    contents = output(docker, "run", *options, "--entrypoint", "/opt/venv/bin/python", image, "-c", script)
    return json.loads(contents)


def output(docker: str, *arguments: str) -> str:
    """What a command of Docker prints.

    Raises:
        ImageError: it failed.
    """
    result = subprocess.run([docker, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ImageError(f"docker {arguments[0]}: {result.stderr.strip()[-500:]}")
    return result.stdout


def report(
    image: str, config: Mapping[str, Any], sizes: Mapping[str, int], contents: Mapping[str, Any]
) -> str:
    """The page that is printed."""
    own = sum(size for name, size in sizes.items() if name != "base")
    lines = [
        f"{image}: {sum(sizes.values()) / 1e6:.1f} MB, of which {own / 1e6:.1f} MB are added to the base"
    ]
    lines.append(f"Python {contents['python']}, {contents['machine']}")
    lines += ["", "layers, newest first"]
    lines += [f"  {name:<14}{size / 1e6:>8.1f} MB" for name, size in sizes.items()]
    lines += ["", "models"]
    for model in contents["models"]:
        revision = f"@{model['revision'][:12]}" if model["revision"] else ""
        lines.append(f"  {model['task']:<11}{model['id']}{revision}")
        lines.append(
            f"             {model['quantization']} ({model['bits']} bits), {model['dimensions']} dimensions, "
            f"{model['max_tokens']} tokens, {model['fingerprint']}"
        )
        lines += [f"             {path:<32}{size / 1e6:>8.1f} MB" for path, size in model["files"]]
    if contents.get("rerank_kind") == "bi-encoder":
        lines.append("  reranker   none of its own: ranks by the embedding model's cosine")
    if "problem" in contents:
        lines.append(f"  none that can be used: {contents['problem']}")
    else:
        lines.append(f"  every file is as it was built ({contents['verified_bytes'] / 1e6:.1f} MB hashed)")
    lines += ["", f"packages: {len(contents['packages'])}, the largest"]
    for name, version, size in contents["packages"][:MAX_PACKAGES]:
        lines.append(f"  {name:<20}{version:<12}{size / 1e6:>8.1f} MB")
    lines += ["", "labels"]
    labels = config.get("Labels") or {}
    lines += [f"  {name.removeprefix(LABEL)}: {value}" for name, value in sorted(labels.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Prints the report; 1 when the bundle in the image is not whole."""
    try:
        image = chosen_image(arguments, environ)
        docker = docker_program(environ)
        config = json.loads(output(docker, "image", "inspect", image))[0]["Config"]
        contents = run_inside(docker, image, INSPECT)
        print(report(image, config, layers(docker, image), contents))
    except ImageError as error:
        print(f"error[image]: {error}", file=sys.stderr)
        return 2
    altered = contents["models"] and "problem" in contents
    return 1 if altered else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

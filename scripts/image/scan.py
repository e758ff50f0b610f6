"""A bill of materials of the image, and what is known against it: ``python -m scripts.image.scan [IMAGE]``.

`make scan` runs it. The bill is CycloneDX JSON, made from what is installed in the image (Python packages,
Debian packages, the models with their files' sha256), not from what was asked for. Python packages are then
looked up in PyPI's advisories with pip-audit; what could not be is said, and never counted as clean.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from scripts.image.build import ImageError, docker_program
from scripts.image.info import chosen_image, run_inside
from scripts.paths import ROOT

OUT = ROOT / ".cache" / "sbom.cdx.json"

# Runs in the image.
LIST = r"""
import importlib.metadata, json, pathlib, platform
python = []
for found in importlib.metadata.distributions():
    about = found.metadata
    classifiers = [one for one in about.get_all("Classifier", []) if one.startswith("License ::")]
    terms = about.get("License-Expression") or ", ".join(one.rpartition(" :: ")[2] for one in classifiers)
    terms = terms or (about.get("License") or "").split("\n")[0]
    python.append([about["Name"], found.version, terms])
debian, entry = [], {}
status = pathlib.Path("/var/lib/dpkg/status")
for line in [*(status.read_text().splitlines() if status.exists() else []), ""]:
    name, colon, value = line.partition(": ")
    if colon and not line.startswith(" "):
        entry[name] = value
    elif not line and entry:
        if entry.get("Status", "").endswith(" installed"):
            debian.append([entry["Package"], entry["Version"], entry.get("Architecture", "")])
        entry = {}
models = []
try:
    manifest = json.loads(pathlib.Path("/var/task/models/manifest.json").read_bytes())
    for task, model in manifest["models"].items():
        models.append([model["id"], str(model["source"].get("revision") or ""), task, model["files"]])
except OSError:
    pass
contents = {"python": python, "debian": debian, "models": models}
print(json.dumps({"interpreter": platform.python_version(), **contents}))
"""


def bill(image: str, identity: str, contents: Mapping[str, Any]) -> Bom:
    """The bill of materials of what was found in the image."""
    found = Bom()
    found.metadata.component = Component(
        name=image.partition(":")[0],
        version=image.partition(":")[2],
        type=ComponentType.CONTAINER,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=identity.removeprefix("sha256:"))],
        bom_ref="image",
    )
    parts = list(components(contents))
    found.components.update(parts)
    found.register_dependency(found.metadata.component, parts)
    return found


def components(contents: Mapping[str, Any]) -> Iterator[Component]:
    """What the image consists of."""
    yield Component(
        name="python", version=contents["interpreter"], type=ComponentType.PLATFORM, bom_ref="python"
    )
    for name, version, terms in contents["python"]:
        url = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
        licences = [DisjunctiveLicense(name=terms)] if terms else []
        yield Component(name=name, version=version, purl=url, bom_ref=str(url), licenses=licences)
    for name, version, machine in contents["debian"]:
        url = PackageURL("deb", "debian", name, version, {"arch": machine})
        yield Component(name=name, version=version, purl=url, bom_ref=str(url))
    for name, revision, task, files in contents["models"]:
        yield Component(
            name=name,
            version=revision,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"model:{task}",
            properties=[Property(name=file["path"], value=f"sha256:{file['sha256']}") for file in files],
        )


def audit(packages: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Looks Python packages up in PyPI's advisories.

    Returns:
        What is known against them, a line each; and the packages that could not be looked up.
    """
    names = [f"{name}=={version}" for name, version, _ in packages]
    with tempfile.TemporaryDirectory() as scratch:
        listing = Path(scratch) / "requirements.txt"
        listing.write_text("\n".join(names) + "\n", encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(listing),
            "--no-deps",
            "--disable-pip",
        ]
        command += ["--progress-spinner", "off", "--format", "json"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        rows = json.loads(result.stdout)["dependencies"]
    except ValueError:
        return [], names
    known = []
    for row in rows:
        for one in row.get("vulns", []):
            fixed = ", ".join(one["fix_versions"]) or "no version"
            known.append(f"{row['name']} {row['version']}: {one['id']} (fixed in {fixed})")
    return known, [row["name"] for row in rows if "skip_reason" in row]


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Writes the bill and says what is known; 1 when something is."""
    try:
        image = chosen_image(arguments, environ)
        docker = docker_program(environ)
        contents = run_inside(docker, image, LIST)
    except ImageError as error:
        print(f"error[image]: {error}", file=sys.stderr)
        return 2
    command = [docker, "image", "inspect", "--format", "{{.Id}}", image]
    identity = subprocess.check_output(command, text=True).strip()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    text = JsonV1Dot6(bill(image, identity, contents)).output_as_string(indent=1)
    OUT.write_text(text + "\n", encoding="utf-8")
    packages, debian = len(contents["python"]), len(contents["debian"])
    print(f"{OUT.relative_to(ROOT)}: CycloneDX, {packages} Python and {debian} Debian packages")
    known, unknown = audit(contents["python"])
    for line in known:
        print(f"vulnerable: {line}")
    checked = packages - len(unknown)
    print(f"{checked} of {packages} Python packages looked up: {len(known)} known vulnerabilities")
    if unknown:
        print(f"NOT CHECKED, PyPI's advisories gave no answer: {', '.join(sorted(unknown))}")
    print(
        f"NOT CHECKED: {debian} Debian packages, for which this has no database: hand the bill to a scanner"
    )
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

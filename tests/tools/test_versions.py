"""The version stands in three files, and is the same in all."""

import re
import tomllib

import lambda_app
from tests.support.builds import ROOT


def test_package_project_and_changelog_have_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = re.fullmatch(r"(\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d", headings[1])
    assert headings[0] == "Unreleased"
    assert released
    assert lambda_app.__version__ == project["version"] == released[1]

"""pyproject.toml, requirements.lock, environment.yml and what is installed say the same."""

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line.strip()]
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")


def direct_requirements():
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for text in [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]]


def pinned_version(pin):
    (specifier,) = pin.specifier
    return specifier.version


def test_the_lock_holds_exact_versions_and_nothing_else():
    assert all(len(pin.specifier) == 1 and next(iter(pin.specifier)).operator == "==" for pin in PINS)


def test_the_lock_has_one_version_of_each_package():
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert len(names) == len(set(names))


def test_cuda_stays_out_of_the_lock():
    assert not [pin.name for pin in PINS if re.match(r"nvidia-|cuda-|triton$", pin.name)]


@pytest.mark.parametrize("python", SUPPORTED_PYTHONS)
@pytest.mark.parametrize("requirement", direct_requirements(), ids=str)
def test_every_direct_requirement_is_locked_within_its_range(requirement, python):
    environment = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
    pins = [
        pin
        for pin in PINS
        if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]
    assert len(pins) == 1
    assert requirement.specifier.contains(pinned_version(pins[0]))


@pytest.mark.parametrize("pin", [p for p in PINS if p.marker is None or p.marker.evaluate()], ids=str)
def test_the_installed_version_is_the_locked_one(pin):
    # A CPU build of torch calls itself 2.13.0+cpu: the part behind the plus is the build, not the version.
    assert Version(version(pin.name)).public == pinned_version(pin)


def test_conda_takes_the_same_pythons_and_the_same_lock():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (python,) = [entry for entry in conda if isinstance(entry, str) and entry.startswith("python ")]
    assert SpecifierSet(python.removeprefix("python ")) == SpecifierSet(PROJECT["requires-python"])
    (pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    assert "-r requirements.lock" in pip
    assert "-e ." in pip


def test_the_makefile_and_the_package_accept_the_same_pythons():
    accepted = SpecifierSet(PROJECT["requires-python"])
    assert tuple(f"3.{minor}" for minor in range(30) if accepted.contains(f"3.{minor}.5")) == SUPPORTED_PYTHONS
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in (ROOT / "Makefile").read_text()


def test_setup_installs_anew_for_changed_files_and_not_for_touched_ones(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def planned():
        return subprocess.run(["make", "-n", "setup"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert "-m venv" in planned()
    stamp = re.search(r"touch (\S+)", planned()).group(1)
    (tmp_path / stamp).parent.mkdir()
    (tmp_path / stamp).touch()
    (tmp_path / "pyproject.toml").touch()
    assert "-m venv" not in planned()
    (tmp_path / "requirements.lock").write_text("torch==0\n")
    assert "-m venv" in planned()


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert f"Version {PROJECT['version']}" in (ROOT / "book" / "citing.md").read_text()

"""What a release holds. `make package` builds and checks it with the tools of an index; this takes seconds and no tools."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.metadata import Metadata

from bookkit.editions import package

ROOT = Path(__file__).parents[2]
# As `python -m build` calls it: by the hooks of pyproject.toml's build-backend, in a process of its own.
HOOK = "import sys; from setuptools import build_meta; print(build_meta.{hook}(sys.argv[1]))"


def call(hook, source, folder):
    folder.mkdir()
    command = [sys.executable, "-c", HOOK.format(hook=hook), folder]
    done = subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that comes from the source that comes from a checkout: what is lost on the way is lost to readers."""
    work = tmp_path_factory.mktemp("package")
    source = call("build_sdist", package.copy(work / "checkout"), work / "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(work / "unpacked", filter="data")
    (unpacked,) = (work / "unpacked").iterdir()
    return call("build_wheel", unpacked, work / "wheel")


@pytest.mark.slow
def test_the_package_brings_everything_that_lies_in_its_folder(wheel, tmp_path):
    """What pip installs is the library of a checkout, models, records and texts included; not what builds the book."""
    assert package.differences(wheel) == ([], [])
    lost = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(lost, "w") as made:
        for name in whole.namelist():
            if name != "successor_heads/reported.json":
                made.writestr(name, "")
        made.writestr("bookkit/__init__.py", "")
    assert package.differences(lost) == (["successor_heads/reported.json"], ["bookkit/__init__.py"])


def test_an_index_would_take_its_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    said = Metadata.from_email(text, validate=True)
    assert said.name == "successor-heads" and said.description.startswith("# ")
    assert HeaderParser().parsestr(text)["Description-Content-Type"] == "text/markdown"


def test_a_tag_of_another_version_is_refused_before_anything_is_built(tmp_path):
    command = [sys.executable, "-S", "-m", "bookkit.editions.package", tmp_path / "dist", "--tag", "v9.9.9"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "v9.9.9 is not that of version" in done.stderr
    assert not (tmp_path / "dist").exists()

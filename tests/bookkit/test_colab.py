"""The cell that installs the package on Colab. `make colab` plays the whole of it, which takes minutes; this takes seconds."""

import importlib.util
import shutil
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell
from packaging.requirements import Requirement

from bookkit import places
from bookkit.editions import colab, play

ROOT = Path(__file__).parents[2]

NOTEBOOKS = [ROOT / places.notebook(chapter) for chapter in places.chapters(ROOT)]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_code_cell_installs_from_where_config_says(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first == colab.cell(colab.address()), "write it with python -m bookkit.editions.colab"
    assert [cell.id for cell in notebook.cells].count(colab.ID) == 1
    # In one place: no chapter has an address of its own.
    others = "".join(cell.source for cell in notebook.cells if cell is not first)
    assert "git+" not in others and "pip install" not in others


@pytest.mark.slow
def test_the_address_is_set_by_one_command(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "_config.yml").read_text()
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    wheel = "releases/download/v0.1.0/successor_heads-0.1.0-py3-none-any.whl"
    for repository, branch, release, wanted in (
        ("someone/fork", "next", "", "git+https://github.com/someone/fork@next"),
        ("someone/fork", "v0.1.0", "0.1.0", f"https://github.com/someone/fork/{wheel}"),
        ("https://example.org/a/b", "main", "", "git+https://example.org/a/b@main"),
        ("", "main", "", ""),
    ):
        command = ["colab.py", "--repository", repository, "--branch", branch, "--release", release]
        monkeypatch.setattr(sys, "argv", command)
        colab.main()
        for path in map(places.notebook, places.chapters()):
            cells = nbformat.read(path, as_version=4).cells
            said = f'install --quiet "successor-heads @ {wanted}"' if wanted else "does not know where"
            assert [said in cell.source for cell in cells].count(True) == 1
            assert cells[0].source.startswith("# ") and cells[1].id == colab.ID
        urls = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
        address = colab.in_full(repository)
        assert urls.pop("Repository", "") == address and colab.address() == (address, branch, release)
        assert urls == project["urls"], "the others stay"
        # A fork shows its own address, and the release is not its own.
        assert colab.address("other/fork") == ("https://github.com/other/fork", branch, "")
    assert yaml.safe_load((tmp_path / "_config.yml").read_text()) == yaml.safe_load(before)
    assert before.count("\n") == (tmp_path / "_config.yml").read_text().count("\n")
    assert (tmp_path / "pyproject.toml").read_text() == (ROOT / "pyproject.toml").read_text(), "as before"


@pytest.mark.parametrize(
    "release, repository, said",
    [
        ("9.9.9", "someone/book", "and not 9.9.9"),
        (PROJECT["version"], "https://example.org/a/b", "looked for on GitHub"),
        (PROJECT["version"], "", "looked for on GitHub"),
    ],
)
def test_a_release_that_is_not_there_to_be_installed_is_refused(
    release, repository, said, tmp_path, monkeypatch, capsys
):
    for name in ("_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["colab.py", "--repository", repository, "--release", release])
    with pytest.raises(SystemExit) as ended:
        colab.main()
    assert ended.value.code == 2 and said in capsys.readouterr().err
    assert (tmp_path / "_config.yml").read_bytes() == (ROOT / "_config.yml").read_bytes()


@pytest.mark.parametrize("is_missing", [True, False])
def test_the_cell_installs_what_is_missing_and_nothing_else(is_missing, monkeypatch):
    asked = []
    shell = InteractiveShell()
    shell.register_magic_function(asked.append, magic_name="pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if is_missing else object())
    shell.run_cell(colab.cell(colab.Address("https://example.org/a/b")).source).raise_error()
    assert asked == (['install --quiet "successor-heads @ git+https://example.org/a/b@main"'] if is_missing else [])


def test_without_an_address_the_cell_says_so_and_installs_nothing(monkeypatch):
    asked = []
    shell = InteractiveShell()
    shell.register_magic_function(asked.append, magic_name="pip")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match="does not know where the book is published.*make address REPOSITORY=owner/name"
    ):
        shell.run_cell(colab.cell(colab.NOWHERE).source).raise_error()
    assert asked == []


def test_what_colab_has_loaded_satisfies_the_package():
    brought = [Requirement(line) for line in play.BROUGHT.read_text().splitlines() if line and not line.startswith("#")]
    brought = {requirement.name: next(iter(requirement.specifier)).version for requirement in brought}
    needs = {requirement.name: requirement.specifier for requirement in map(Requirement, PROJECT["dependencies"])}
    kept = set(play.KEPT) & set(needs)
    assert {"torch", "numpy", "pandas", "ipython"} <= kept
    assert not [name for name in kept if not needs[name].contains(brought[name])]

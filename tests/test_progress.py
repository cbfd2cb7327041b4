"""Progress of long work: shown by a build, and kept out of what a cell prints."""

import pytest

from bookkit.build import execute
from successor_heads import progress


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0.0)


def test_in_a_build_steps_are_lines_of_a_file_and_nothing_is_printed(at_once, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "said"))
    assert list(progress.bar(range(3), name="contexts")) == [0, 1, 2]
    with progress.bar(name="prompts", total=10) as bar:
        bar.update(10)
    said = (tmp_path / "said").read_text(encoding="utf8")
    assert "contexts: 2 of 3 after 00:00" in said and "prompts: 10 of 10" in said and said.count(" left\n") >= 4
    assert capfd.readouterr() == ("", "")


def test_short_work_says_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "said"))
    list(progress.bar(range(3), name="contexts"))
    assert (tmp_path / "said").read_text(encoding="utf8").strip() == "" and capfd.readouterr() == ("", "")


def test_a_build_shows_them_with_the_name_of_the_chapter(at_once, monkeypatch, capfd):
    with execute.progress_shown("grown/pythia 05"):
        list(progress.bar(range(3), name="contexts"))
    shown = capfd.readouterr().err.splitlines()
    assert len(shown) >= 3 and all(line.startswith("grown/pythia 05: contexts: ") for line in shown)
    list(progress.bar(range(3), name="contexts"))  # outside, it is a bar as usual, that waits before it shows
    assert capfd.readouterr().err == ""

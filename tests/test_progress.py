"""Progress of long work: shown by a build, and kept out of what a cell prints. And printing ends no work."""

import io
import sys

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


class Refusing(io.StringIO):
    """A stream that takes one line and then no more."""

    def __init__(self, error):
        super().__init__()
        self.refusal = error

    def write(self, text):
        if self.getvalue():
            raise self.refusal
        return super().write(text)


@pytest.mark.parametrize("refusal", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("closed")])
def test_printing_fails_nowhere_and_what_was_not_taken_is_known(monkeypatch, refusal):
    out, err = Refusing(refusal), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with progress.unfailing_output() as (output, _):
        sys.stdout.write("first\n")
        print("second")
        print("a word", file=sys.stderr)
    assert (out.getvalue(), output.unsaid, output.error) == ("first\n", "second\n", refusal)
    assert err.getvalue() == "a word\n" and sys.stdout is out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_character_that_the_encoding_lacks_is_its_code(monkeypatch, encoding):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    with progress.unfailing_output():
        print("modèle … か \x81 \udcff")
    text = raw.getvalue().decode(encoding)
    assert text.startswith("mod") and text.endswith("\\udcff\n") and ("か" in text) is (encoding == "utf-8")
    sys.stdout.detach()


def test_a_stream_that_was_closed_before_the_start_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with progress.unfailing_output() as (output, _):
        print("to nobody")
    assert output is None

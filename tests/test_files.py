import errno
import json
import os
import threading

import pytest

from successor_heads import files
from successor_heads.errors import UserError


def test_a_slug_is_a_folders_name_whatever_the_model_is_called():
    assert files.slug("grown/pythia") == "grown__pythia" and files.slug("/a/b-1.5_x/") == "a__b-1.5_x"
    odd = ["/x/a: b", "/x/lr{1e-4}", "/x/lr{1e-5}", "/x/run #2", "/x/it's", "/x/[1,2]", "/x/a b", "/x/a-b", "/x/a\nb"]
    odd += ["/x/" + letter * 240 for letter in "aäか"] + ["/" + "a/" * 300, "/" + "b/" * 300]
    slugs = [files.slug(name) for name in odd]
    assert len(set(slugs)) == len(odd)
    for slug in slugs:
        assert not set(slug) & set(" {}[]:#'\n/*?") and len(f".site-{slug}.working".encode()) < 256
    assert "lr" in files.slug("/x/lr{1e-4}"), "a person can tell which it is"


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "far").mkdir()
    for target in ("far/there.json", "far/to-be.json"):
        link = tmp_path / f"{target[4:]}-link"
        link.symlink_to(target)
        files.check_target(link)
        files.write_json(link, {"a": 1})
        assert link.is_symlink() and json.loads((tmp_path / target).read_text()) == {"a": 1}
    assert len(os.listdir(tmp_path / "far")) == 2


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files.check_target(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    files.write_json(pipe, {"a": 1})
    reader.join()
    assert json.loads(read[0]) == {"a": 1} and pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]


def test_a_device_is_no_file_that_could_be_replaced(tmp_path, monkeypatch):
    device = os.stat("/dev/null")
    (tmp_path / "null").touch()
    with monkeypatch.context() as patched:
        # Whoever runs this as root would lose the real one if it failed.
        real = os.stat
        patched.setattr(os, "stat", lambda path, **how: device if "null" in str(path) else real(path, **how))
        files.replace(tmp_path / "null", lambda written: written.write_text("in place"))
        draft = []
        files.replace(tmp_path / "file", lambda written: draft.append(written) or written.write_text("whole"))
    assert (tmp_path / "null").read_text() == "in place"
    assert draft[0].name != "file" and (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("length", [240, 255])
def test_a_name_as_long_as_the_file_system_takes(tmp_path, length):
    path = tmp_path / ("n" * (length - 5) + ".json")
    files.check_target(path)
    files.write_json(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_target_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    def sentence(path):
        with pytest.raises(UserError) as told:
            files.check_target(path)
        return str(told.value)

    assert "is a folder" in sentence(tmp_path)
    assert "There is no folder" in sentence(tmp_path / "no" / "x.json")
    assert "File name too long" in sentence(tmp_path / ("n" * 300))
    (tmp_path / "kept.json").touch()
    # Root may write everywhere, so that neither mode bits nor another user would do.
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        assert "kept.json cannot be written (Permission denied)" in sentence(tmp_path / "kept.json")
    with monkeypatch.context() as patched:
        patched.setattr(files.Path, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "Read-only file system")))  # fmt: skip
        assert "new.json cannot be written (Read-only file system)" in sentence(tmp_path / "new.json")
    files.check_target(tmp_path / "new.json")
    assert os.listdir(tmp_path) == ["kept.json"], "the try leaves nothing behind"

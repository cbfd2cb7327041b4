"""Build what a release holds, the source and from that the wheel, and check both: `make package`.

    python -m bookkit.editions.package _build/package/dist
    python -m bookkit.editions.package _build/package/dist --tag v0.1.0     of this version and no other

Needs `build` and `twine`, and nothing else that Python does not bring. The exit status is 1 when either finds something,
when a file of the library is missing from the wheel or one too many is in it, or when the tag is another version's.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Beside lib, what pyproject.toml names.
NEEDED = ("pyproject.toml", "README.md", "LICENSE")
UNPACKED = re.compile(r"__pycache__|/\.|\.pyc$")


def copy(source, root=ROOT):
    """Copy what a build needs into the folder `source`, which is made; returns it. A build leaves folders behind where it works."""
    shutil.copytree(root / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in NEEDED:
        shutil.copy(root / name, source)
    return source


def differences(wheel, root=ROOT):
    """(missing, too many): the files of the library that the wheel lacks, and what it has beside them."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    library = root / "lib"
    files = {
        path.relative_to(library).as_posix() for path in (library / "successor_heads").rglob("*") if path.is_file()
    }
    wanted = {name for name in files if not UNPACKED.search(name)}
    return sorted(wanted - packed), sorted(packed - wanted)


def build(folder):
    """Build source and wheel into the folder, which is emptied first; returns the wheel. Raises CalledProcessError."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as work:
        source = copy(Path(work) / "source")
        subprocess.run([sys.executable, "-m", "build", "--outdir", folder, source], check=True)
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *sorted(folder.iterdir())], check=True)
    return next(folder.glob("*.whl"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tag", help="the release's, a v and the version")
    arguments = parser.parse_args()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["version"]
    if arguments.tag not in (None, f"v{version}"):
        sys.exit(f"The tag {arguments.tag} is not that of version {version}: change pyproject.toml, or tag v{version}.")
    try:
        wheel = build(arguments.folder.resolve())
    except subprocess.CalledProcessError as error:
        sys.exit(f"The package was not built, or is not fit to be published: see what {error.cmd[2]} says above.")
    missing, too_many = differences(wheel)
    if missing or too_many:
        sys.exit(
            f"{wheel.name} lacks {missing or 'nothing'} of the library, and has {too_many or 'nothing'} beside it."
        )
    print(*(path.name for path in sorted(arguments.folder.iterdir())), sep="\n")


if __name__ == "__main__":
    main()

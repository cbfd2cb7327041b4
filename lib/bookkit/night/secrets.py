"""Refuse files that hold a key: run before anything of the nightly run is uploaded or stored.

    python -m bookkit.night.secrets _build/executed _build/records

looks for the values of this process's own keys, plain or as base64, and for whatever has the form of a known key. It names
the file, the line and the kind, never the key. The exit status is 1 when something was found.

The forms are ours because detect-secrets 1.5.0, tried on 17 made-up keys in a printed output, finds 8 with its detectors of
forms, and these 17: it knows no key of Hugging Face, NDIF, Google or Anthropic, no new one of OpenAI, no fine-grained one of
GitHub, no encrypted private key and no Authorization header, and it passes over files that are not UTF-8. Neither raised a
false alarm on 7 MB of executed chapters and of the site's source. gitleaks is a program outside the locked environment.
"""

import argparse
import base64
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

# Of the services that a chapter can speak to, and of those whose keys lie about on machines that run workflows.
FORMS = {
    "Hugging Face token": r"\b(hf|api_org)_[A-Za-z0-9]{30,}",
    "GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{50,})",
    "AWS key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "Google key": r"\bAIza[\w-]{35}",
    "OpenAI or Anthropic key": r"\bsk-[\w-]{32,}",
    "Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "PyPI token": r"\bpypi-[\w-]{50,}",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]{1,64}:[^\s/:@\"'<>{}$]{3,128}@",
    "Authorization header": r"(?i)\bauthorization\W{1,6}(bearer|basic|token)\s+[\w.~+/=-]{12,}",
    "NDIF key in a call or a header": r"(?i)(ndif[-_]api[-_]key|set_default_api_key)\W{1,6}[\w-]{16,}",
}
NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
SHORTEST = 8  # a shorter value would be found in ordinary words


def own_keys(environment):
    """The values of the variables that are named as keys are, by the variable's name."""
    return {name: value for name, value in environment.items() if NAMES.search(name) and len(value) >= SHORTEST}


def forms_of(value):
    """A value as it may stand in a file: plain, in an address, or as base64 from any of the three places where it can begin."""
    data = value.encode()
    yield value
    yield quote(value, safe="")
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + data).decode()
        # The first and the last few letters also depend on what stands beside the value.
        yield coded[(0, 2, 3)[before] : len(coded) - (0, 4, 4)[(before + len(data)) % 3]]


def found_in(text, keys):
    """(line, kind) of every key in a text, each line and kind once."""
    places = [(match.start(), kind) for kind, form in FORMS.items() for match in re.finditer(form, text)]
    for name, value in keys.items():
        for form in set(forms_of(value)):
            at = text.find(form) if len(form) >= SHORTEST else -1
            if at >= 0:
                places.append((at, f"the value of {name}"))
    return sorted({(text.count("\n", 0, at) + 1, kind) for at, kind in places})


def scan(paths, environment):
    """One sentence for every key in these files, and in all the files of these folders."""
    keys = own_keys(environment)
    files = [file for path in map(Path, paths) for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    for file in files:
        if file.is_file():
            text = file.read_bytes().decode("utf8", errors="replace")
            for line, kind in found_in(text, keys):
                yield f"{file}, line {line}: {kind}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    paths = parser.parse_args().paths
    missing = [path for path in paths if not path.exists()]
    if missing:
        sys.exit(f"{missing[0]} is not there, so it cannot be scanned.")
    sentences = list(scan(paths, os.environ))
    for sentence in sentences:
        print(f"SECRET  {sentence}", file=sys.stderr)
    if sentences:
        sys.exit("Nothing of this may be uploaded.")
    print(f"No secret in {', '.join(map(str, paths))}.")


if __name__ == "__main__":
    main()

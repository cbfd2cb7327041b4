"""Notebook x model -> executed notebook and record -> site. The only place that knows what depends on what.

What has to run is decided by content. Snakemake alone would look at a file's time first and at its content only
below a size; so sources are marked `ancient` (their times do not count) and their digest is a parameter (a changed
byte does). Between the steps, where one job's output is another's input, Snakemake's own rules hold.
"""

import hashlib
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, "book/tools")
import places


def files_under(*folders):
    """Every file of these folders that a person wrote, in a fixed order."""
    found = (path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return [str(path) for path in found if "__pycache__" not in path.parts and not path.name.startswith(".")]


def digest(paths):
    """SHA-256 of these files' names and contents."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path}\0".encode())
        total.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return total.hexdigest()


JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))
MODEL = places.subject(config.get("model", places.DEFAULT_MODEL))
SLUG = places.slug(MODEL)
CHAPTERS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))

LIBRARY = files_under("lib") + ["requirements.lock", "book/tools/execute.py"]
WEIGHTS = files_under(MODEL) if Path(MODEL).is_absolute() else []
PAGES = files_under("book") + ["_config.yml", "_toc.yml", "requirements.lock"]
LIBRARY_DIGEST = digest(LIBRARY + WEIGHTS)
# GitHub sets the first; whoever publishes from elsewhere sets the second. Without either the site has no launch buttons.
REPOSITORY = os.environ.get("BOOK_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY", "")


rule site:
    input:
        notebooks=[f"_build/executed/{SLUG}/{chapter}.ipynb" for chapter in CHAPTERS],
        records=[f"_build/records/{SLUG}/{chapter}.json" for chapter in CHAPTERS],
        pages=ancient(PAGES),
    output:
        places.index(MODEL),
    params:
        content=digest(PAGES),
        repository=REPOSITORY,
        site=places.site(MODEL),
    threads: 1
    shell:
        "{sys.executable:q} book/tools/assemble.py {params.site:q} --repository={params.repository:q}"
        " --notebooks {input.notebooks:q} --records {input.records:q}"
        " && {JUPYTER_BOOK:q} build -q -W -n --keep-going {params.site:q}"


rule notebooks:
    input:
        rules.site.input.notebooks,


rule chapter:
    input:
        notebook=ancient("notebooks/{chapter}.ipynb"),
        library=ancient(LIBRARY + WEIGHTS),
    output:
        notebook=f"_build/executed/{SLUG}/{{chapter}}.ipynb",
        record=f"_build/records/{SLUG}/{{chapter}}.json",
    params:
        content=lambda wildcards: digest([f"notebooks/{wildcards.chapter}.ipynb"]) + LIBRARY_DIGEST,
        model=MODEL,
        settings=shlex.join(f"--{name}={config[name]}" for name in ("revision", "dtype", "device") if name in config),
        cell_timeout=config.get("cell_timeout", 900),
    # Snakemake hands this to the kernel as OMP_NUM_THREADS: one thread each as soon as two notebooks can run at once.
    threads: max(1, workflow.cores // max(1, len(CHAPTERS)))
    shell:
        "exec {sys.executable:q} book/tools/execute.py {input.notebook:q} {output.notebook:q} --record {output.record:q}"
        " --model {params.model:q} {params.settings} --cell-timeout {params.cell_timeout}"

"""Notebook x model -> executed notebook and record -> site. The only place that knows what depends on what.

One model is given by name, for the book; several by a plan, for a sweep over models.yml. The rules are the same.

What has to run is decided by content. Snakemake alone would look at a file's time first and at its content only
below a size; so sources are marked `ancient` (their times do not count) and their digest is a parameter (a changed
byte does). Between the steps, where one job's output is another's input, Snakemake's own rules hold.

A chapter depends on its notebook and on what that imports of the library, to the end, with the data that these modules
read (bookkit.build.imports): a changed study runs one chapter again, a changed norm all of them.
"""

import functools
import json
import os
import re
import shlex
import sys
from pathlib import Path

import bookkit
from bookkit import places
from bookkit.build import imports
from bookkit.build.content import digest, files_under

JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))
MODEL = places.subject(config.get("model", places.DEFAULT_MODEL))
SLUG = places.slug(MODEL)
CHAPTERS = places.chapters()

# For each folder name its model, what runs on it, with which settings, and how much of the machine it may take.
if "plan" in config:
    SUBJECTS = json.loads(Path(config["plan"]).read_text(encoding="utf8"))
else:
    settings = {name: config[name] for name in ("revision", "dtype", "device") if name in config}
    SUBJECTS = {SLUG: {"model": MODEL, "parts": config.get("chapters", CHAPTERS), "settings": settings}}
JOBS = [(slug, part) for slug, subject in SUBJECTS.items() for part in subject["parts"]]

# Chapters that have failed, once their failure is known: the site is then built with what is left of them.
FAILED = config.get("failed", [])

# What runs a chapter lies in this project, or where a test has put it.
KIT = os.path.relpath(Path(bookkit.__file__).parents[1])
PAGES = files_under("book") + ["_config.yml", "_toc.yml", "requirements.lock"]
# The page of the library is made from its docstrings; the rest is what lays the site out.
PAGES += [path for path in files_under("lib/successor_heads") if path.endswith(".py")]
PAGES += imports.of_module("bookkit.site.assemble", KIT) + imports.of_module("bookkit.site.extension", KIT)
# What the pages of results and of the status tell of other models, and of the last night.
REPORTED = ["models.yml", "benchmarks/results/score.json", "benchmarks/results/ablation.json", str(places.NIGHT)]
OTHERS = [path for path in REPORTED if Path(path).exists()] + files_under("tests/accepted")
OTHERS += [path for path in files_under("_build/records") if SLUG not in Path(path).parts]
# GitHub sets the first; whoever publishes from elsewhere sets the second. Without either the site has no launch buttons.
REPOSITORY = os.environ.get("BOOK_REPOSITORY") or os.environ.get("GITHUB_REPOSITORY", "")

# One thread each as soon as two notebooks can run at once. A cluster's cores are without number: there it is named.
THREADS = config["threads"] if "threads" in config else max(1, workflow.cores // max(1, len(JOBS)))
# Limits are resources: Snakemake shares them out, a cluster's scheduler is told, and a changed limit redoes nothing.
# Nought is no limit.
LIMITS = {
    "mem_mb": lambda wildcards: SUBJECTS[wildcards.slug].get("memory_mb", 0),
    "runtime": lambda wildcards: SUBJECTS[wildcards.slug].get("minutes", 0),
    "gpu": lambda wildcards: SUBJECTS[wildcards.slug].get("gpus", 0),
    "cell_timeout": config.get("cell_timeout", 3600),
}


wildcard_constraints:
    slug="|".join(map(re.escape, SUBJECTS)),
    chapter="|".join(map(re.escape, CHAPTERS)),


def weights(slug):
    """The files of a model that lies in a folder of this machine. Whatever else a name stands for does not change."""
    model = SUBJECTS[slug]["model"]
    return files_under(model) if Path(model).is_absolute() else []


@functools.cache
def code(chapter):
    """The files that decide what a chapter finds, and the scores alone, on any model."""
    if chapter == places.SCORE:
        used = imports.of_module("successor_heads.cli") + imports.of_module("bookkit.build.score", KIT)
    else:
        notebook = places.notebook(chapter)
        used = [notebook, *imports.of_notebook(notebook), *imports.of_module("bookkit.build.execute", KIT)]
    return [*used, "requirements.lock"]


def content(slug, chapter):
    """The digest of everything that decides a result on this model."""
    return digest(code(chapter)) + (digest(weights(slug)) if weights(slug) else "")


def options(slug):
    """The model's settings as the tools take them."""
    return shlex.join(f"--{name}={value}" for name, value in SUBJECTS[slug]["settings"].items())


def page_source(chapter):
    """What a chapter's page is made of: its executed copy; of one that failed the copy up to there, or at least its text."""
    if chapter not in FAILED:
        return places.executed(SLUG, chapter)
    copy = places.failed(SLUG, chapter)
    return copy if Path(copy).exists() else places.notebook(chapter)


rule site:
    input:
        notebooks=[page_source(chapter) for chapter in CHAPTERS],
        records=[places.record(SLUG, chapter) for chapter in CHAPTERS if chapter not in FAILED],
        pages=ancient(PAGES),
    output:
        places.index(MODEL),
    params:
        content=digest(PAGES + OTHERS),
        model=MODEL,
        repository=REPOSITORY,
        site=places.site(MODEL),
    threads: 1
    shell:
        "{sys.executable:q} -m bookkit.site.assemble {params.site:q} --model {params.model:q} --repository={params.repository:q}"
        " --notebooks {input.notebooks:q} --records {input.records:q}"
        " && {JUPYTER_BOOK:q} build -q -W -n --keep-going {params.site:q}"


rule notebooks:
    input:
        [places.executed(slug, chapter) for slug, chapter in JOBS if chapter != places.SCORE],


rule sweep:
    input:
        [places.result(slug, part) for slug, part in JOBS],


rule chapter:
    input:
        notebook=ancient(places.notebook("{chapter}")),
        code=lambda wildcards: ancient(code(wildcards.chapter) + weights(wildcards.slug)),
    output:
        notebook=places.executed("{slug}", "{chapter}"),
        record=places.record("{slug}", "{chapter}"),
    params:
        content=lambda wildcards: content(wildcards.slug, wildcards.chapter),
        model=lambda wildcards: SUBJECTS[wildcards.slug]["model"],
        settings=lambda wildcards: options(wildcards.slug),
    # Snakemake hands this to the kernel as OMP_NUM_THREADS.
    threads: THREADS
    resources:
        **LIMITS,
    shell:
        "exec {sys.executable:q} -m bookkit.build.execute {input.notebook:q} {output.notebook:q} --record {output.record:q}"
        " --model {params.model:q} {params.settings} --cell-timeout {resources.cell_timeout}"
        " --minutes {resources.runtime} --memory-mb {resources.mem_mb}"


# A model too large to be loaded: its scores alone, from the bytes that they need.
rule score:
    input:
        code=lambda wildcards: ancient(code(places.SCORE) + weights(wildcards.slug)),
    output:
        record=places.record("{slug}", places.SCORE),
    params:
        content=lambda wildcards: content(wildcards.slug, places.SCORE),
        model=lambda wildcards: SUBJECTS[wildcards.slug]["model"],
        settings=lambda wildcards: options(wildcards.slug),
    threads: THREADS
    resources:
        **LIMITS,
    shell:
        "exec {sys.executable:q} -m bookkit.build.score {output.record:q} --model {params.model:q} {params.settings}"
        " --minutes {resources.runtime} --memory-mb {resources.mem_mb}"

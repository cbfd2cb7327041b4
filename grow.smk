"""Recipe -> grown model -> record of its run: what chapter 6 reads.

`make grown` runs this. It takes hours on two cores, so the book's build reads the records that are stored, and has a
Snakefile of its own: a record that is made anew must not set off, or hold up, the chapters.
"""

import shlex
import sys
from pathlib import Path

from successor_heads.growing import announced
from successor_heads.studies import better_subjects

SUCCESSOR_HEADS = str(Path(sys.executable).with_name("successor-heads"))
SEEDS = (0, 1, 2)
TINY = "--size tiny --steps 1200 --batch 8 --without prose"
ARMS = {  # what is left out of the text, or changed in it
    "full": "",
    "no-decimals": "--without decimals",
    "no-crossrefs": "--without crossrefs",
    "no-interchange": "--without interchange",
    "no-crossrefs-no-interchange": "--without crossrefs --without interchange",
    "base8": "--base 8",
    "base12": "--base 12",
}
SHARING = ("full", "no-crossrefs", "no-interchange", "no-crossrefs-no-interchange")  # a smaller effect: more seeds
ZOO = ("pythia", "gpt2", "llama")  # shipped with their weights
GROWN = {f"pythia-tiny-{arm}-seed{seed}": f"pythia {TINY} {changed} --seed {seed}" for arm, changed in ARMS.items() for seed in SEEDS}
GROWN |= {f"pythia-tiny-{arm}-seed{seed}": f"pythia {TINY} {ARMS[arm]} --seed {seed}" for arm in SHARING for seed in (3, 4)}
for family, tied in (("gpt2", "--tied"), ("llama", "")):
    GROWN[f"{family}-never-quiet"] = f"{family} {TINY} {tied} --quiet-steps 0"
    GROWN[f"{family}-quiet"] = f"{family} {TINY} {tied} --quiet-steps 400"
GROWN |= {"gpt2-tied": "gpt2 --tied", "gpt2-tied-quiet900": "gpt2 --tied --quiet-steps 900"}
GROWN |= {"gpt2-tied-batch8": "gpt2 --tied --steps 2000 --batch 8 --quiet-steps 600"}
GROWN |= {"llama-batch8": "llama --steps 2000 --batch 8 --quiet-steps 600"}
GROWN |= {f"pythia-seed{seed}": f"pythia --seed {seed}" for seed in SEEDS[1:]}
GROWN |= {"pythia-small": "pythia --size small --steps 600", "pythia-large": "pythia --size large --steps 300"}
RUN_RECORDS = "lib/successor_heads/growing/records"

# What was announced before it was run; these records lie in a folder of their own.
SUCCESSION = {f"succession/{name}": options for name, options in announced.runs().items()}
GROWN |= SUCCESSION


rule grown:
    input:
        expand(RUN_RECORDS + "/{name}.json", name=[*GROWN, *ZOO]),


# One wave of what was announced: snakemake --snakefile grow.smk --cores 2 wave1
for wave in announced.waves():

    rule:
        name:
            f"wave{wave}"
        input:
            expand(RUN_RECORDS + "/succession/{name}.json", name=announced.runs(of=[wave])),


# A model that is there is not grown again: a changed library would otherwise cost a night.
rule grow:
    output:
        directory("_build/grown/{name}"),
    wildcard_constraints:
        name="|".join(GROWN),
    params:
        recipe=lambda wildcards: GROWN[wildcards.name],
        books=shlex.join(["--books", config["books"]]) if "books" in config else "",
    threads: 1
    shell:
        "{SUCCESSOR_HEADS:q} grow {params.recipe} {params.books} --out {output:q}"


rule record_of_grown:
    input:
        lambda wildcards: f"_build/grown/{wildcards.name}" if wildcards.name in GROWN else f"lib/successor_heads/zoo/{wildcards.name}",
    output:
        RUN_RECORDS + "/{name}.json",
    threads: 1
    shell:
        "{sys.executable:q} -m successor_heads.growing.observe {input:q} {output:q}"


# Chapter 4's edits of these models. What was measured before is passed over, so that there is no output to begin anew.
rule edits:
    input:
        [f"_build/grown/succession/{name}" for name in announced.runs() if announced.run_of(name)[0] in better_subjects.RULES["arms"]],
    threads: 1
    shell:
        "{sys.executable:q} -m successor_heads.studies.better_subjects {input:q}"

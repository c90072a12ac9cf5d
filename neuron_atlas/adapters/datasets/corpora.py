"""Text corpora as files: one `.txt` file per corpus, one text per line, named after the file."""

from __future__ import annotations

from pathlib import Path

from neuron_atlas.adapters.files import file_sha256
from neuron_atlas.core.records import NAME
from neuron_atlas.errors import BadInput, UnknownName


def list_corpora(folder: Path) -> list[str]:
    """The names of the corpora in a folder, sorted; nothing is read. Raises `BadInput` on a folder or name that will not do."""
    if not folder.is_dir():
        raise BadInput(f"the corpus folder {folder} does not exist; set NEURON_ATLAS_CORPORA to a folder of .txt files")
    names = sorted(path.stem for path in folder.glob("*.txt") if path.is_file())
    bad = [name for name in names if not NAME.match(name)]
    if bad:
        raise BadInput(f"corpora {bad} in {folder} need names of lower-case letters, digits, - and _ ({NAME.pattern})")
    return names


def read_corpus(folder: Path, name: str) -> list[str]:
    """The texts of one corpus, in file order, empty lines left out; raises `UnknownName` or `BadInput`."""
    path = _path(folder, name)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise BadInput(f"{path} holds no text; expected one text per line")
    return texts


def corpus_hash(folder: Path, name: str) -> str:
    """The sha256 of a corpus file, 64 hex digits."""
    return file_sha256(_path(folder, name))


def _path(folder: Path, name: str) -> Path:
    names = list_corpora(folder)
    if name not in names:
        raise UnknownName("corpus", name, names, hint=f"Corpora are the .txt files in {folder}.")
    return folder / f"{name}.txt"

"""What a store of labels must offer to be searched."""

from __future__ import annotations

from typing import Protocol

from neuron_atlas.core.publication.search.records import EVERYTHING, Filters, Found, Mode, Question


class LabelSearch(Protocol):
    """A store of descriptions that can be searched: NeuronDB, or the atlas file."""

    def search(
        self,
        query: Question = None,
        *,
        mode: Mode = "hybrid",
        filters: Filters = EVERYTHING,
        limit: int = 20,
    ) -> Found:
        """The descriptions that pass the filters and answer `query` best, best first.

        `query` is a text, a vector [dimension] of the embedder the labels were embedded with, or nothing: then what passes comes
        best score first. By meaning or both (`mode`) there are never fewer than `limit` hits where that many pass; by words
        those count that hold one of the words. Raises `BadInput` for a question that cannot be answered, `UnknownName` for a
        cluster that does not exist.
        """
        ...

"""A view of a model's neurons while it reads, answers and is steered.

The state is the conversation (or a plain text), the filter and the steering. Everything else - tokens, activations, attributions,
what is in the filter - is worked out from these when it is asked for and kept until one of them changes; so nothing can be
stale after a message.

    view = na.NeuronView(model, na.open_atlas(".neuron_atlas/neuron_atlas.duckdb").known())
    view.send("the capital of the state containing Bend is")
    view.filter = na.filters.Description(keyword="Salem") & na.filters.Quantile(level=1e-3)
    view.instances()
    view.steer(0.0)                    # switch them off
    view.regenerate()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from neuron_atlas.core.ports import Array
from neuron_atlas.core.publication.filters import EVERYTHING, Attribution, Filter, Selection, parts_of, select
from neuron_atlas.core.publication.filters.filter_classes import Goal
from neuron_atlas.core.publication.filters.neuron_facts import NeuronFacts
from neuron_atlas.core.publication.filters.reading import Reading
from neuron_atlas.core.publication.view import view_tables
from neuron_atlas.core.publication.view.linter import FAR, LEAST, MOST, Finding, lint
from neuron_atlas.core.publication.view.saved_view import VERSION, SavedTurn, SavedView, read_saved, saved_steering
from neuron_atlas.core.publication.view.steering import LEVEL as STEERING_LEVEL
from neuron_atlas.core.publication.view.steering import How, Steering, steer
from neuron_atlas.core.publication.view.viewed_model import ViewedModel
from neuron_atlas.core.records import Edit, Prompt, Turn
from neuron_atlas.errors import BadInput

KEPT_RELEVANCES = 4
"""Goals whose whole relevance is kept for the text at hand."""
OnText = Callable[[str], None]


class NeuronView:
    """One conversation or text with one model. Not for several threads at once."""

    def __init__(
        self,
        model: ViewedModel,
        known: NeuronFacts | None = None,
        *,
        system: str | None = None,
        text: str | None = None,
        filter: Filter = EVERYTHING,
        rules: str = "relp",
    ) -> None:
        """`known` says what is known of the neurons (`na.open_atlas(...).known()`); without it, filters by descriptions and
        clusters find nothing and quantiles are refused. `text` is read as it stands, with no chat template; else a
        conversation begins, after the `system` message if there is one. `rules` linearise attributions. Raises `BadInput`
        when `known` is of another model.
        """
        spec = model.spec
        if known is not None and known.model_revision != spec.revision:
            raise BadInput(
                f"the labels and quantiles are of a model of revision {known.model_revision[:8]}, {spec.model_id} is "
                f"{spec.revision[:8]}; open the atlas of this model, or load the model of that atlas"
            )
        self.model = model
        self.known = known or NeuronFacts.empty(
            model_revision=spec.revision, n_layers=spec.n_layers, n_neurons=spec.n_neurons
        )
        self.filter = filter
        self._rules = rules
        self._turns: tuple[Turn, ...] = () if system is None else (Turn("system", system),)
        self._text, self._written = text, ""
        self._steering: tuple[Steering, ...] = ()
        self._read: tuple[tuple[tuple[int, ...], tuple[Edit, ...]], Reading] | None = None
        self._selected: tuple[Filter, Reading | None, Selection] | None = None

    # -------------------------------------------------------------------------------------------------------- conversation
    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation, oldest first."""
        return self._turns

    @property
    def text(self) -> str | None:
        """The plain text with what the model wrote after it; None in a conversation."""
        return None if self._text is None else self._text + self._written

    def read(self, text: str) -> None:
        """Look at a plain text instead of a conversation."""
        self._text, self._written, self._turns = text, "", ()

    def clear(self) -> None:
        """Begin a new conversation; filter, steering and a system message stay."""
        self._text, self._written = None, ""
        self._turns = tuple(turn for turn in self._turns if turn.role == "system")

    def begin(self, system: str) -> None:
        """Begin a new conversation with a system message; filter and steering stay."""
        self._text, self._written = None, ""
        self._turns = (Turn("system", system),)

    def send(
        self,
        text: str,
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        seed: int = 0,
        answer_prefix: str = "",
        on_text: OnText | None = None,
    ) -> str:
        """Say something and return the model's answer, written under the steering in force.

        The answer begins with `answer_prefix`; `on_text` is given its pieces as they are written. When it fails, the
        conversation stays as it was. Raises `BadInput` for a message that cannot be encoded or no longer fits the context.
        """
        if self._text is not None:
            raise BadInput(
                "this view reads a plain text; call clear() to begin a conversation, or regenerate() to write on"
            )
        turns = (*self._turns, Turn("user", text))
        answer = self._answer(turns, max_new_tokens, temperature, seed, answer_prefix, on_text)
        self._turns = (*turns, Turn("assistant", answer))
        return answer

    def regenerate(
        self, *, max_new_tokens: int = 64, temperature: float = 0.0, seed: int = 0, on_text: OnText | None = None
    ) -> str:
        """Write the last answer anew, or what follows a plain text; arguments as in `send`."""
        if self._text is not None:
            ids = self._encoded_text(self._text)
            self._written = self._generated(ids, max_new_tokens, temperature, seed, on_text)
            return self._written
        turns = self._turns
        while turns and turns[-1].role == "assistant":
            turns = turns[:-1]
        if not turns or turns[-1].role != "user":
            raise BadInput("there is nothing to answer yet; send a message first")
        answer = self._answer(turns, max_new_tokens, temperature, seed, "", on_text)
        self._turns = (*turns, Turn("assistant", answer))
        return answer

    def _answer(
        self,
        turns: Sequence[Turn],
        max_new_tokens: int,
        temperature: float,
        seed: int,
        answer_prefix: str,
        on_text: OnText | None,
    ) -> str:
        ids = self.model.encode_turns(turns, answer_prefix=answer_prefix)
        return answer_prefix + self._generated(ids, max_new_tokens, temperature, seed, on_text)

    def _generated(
        self, ids: Sequence[int], max_new_tokens: int, temperature: float, seed: int, on_text: OnText | None
    ) -> str:
        new: list[int] = []
        written = ""
        for token in self.model.generate(
            ids, edits=self.edits, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed
        ):
            new.append(token)
            whole = self.model.continuation(ids, new)
            if on_text is not None and whole.startswith(written) and not whole.endswith("\ufffd"):
                on_text(whole[len(written) :])
                written = whole
        return self.model.continuation(ids, new)

    # --------------------------------------------------------------------------------------------------------------- state
    @property
    def token_ids(self) -> tuple[int, ...]:
        """What the model has read and written, in tokens; nothing before the first message."""
        if self._text is not None:
            return tuple(self._encoded_text(self._text + self._written))
        return tuple(self.model.encode_turns(self._turns)) if any(t.role != "system" for t in self._turns) else ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts of these tokens."""
        return tuple(self.model.token_text(token) for token in self.token_ids)

    @property
    def reading(self) -> Reading | None:
        """The model's state over these tokens under the steering in force; None before the first message."""
        ids = self.token_ids
        if not ids:
            return None
        edits = tuple(edit for edit in self.edits if edit.position is None or edit.position < len(ids))
        if self._read is None or self._read[0] != (ids, edits):
            (activations,) = self.model.activations([ids], edits=edits)
            tokens = tuple(self.model.token_text(token) for token in ids)
            is_counted = np.array([token not in self.model.special_ids for token in ids], np.bool_)
            self._read = (ids, edits), Reading(ids, tokens, is_counted, activations, self._relevance_of(ids, edits))
        return self._read[1]

    @property
    def selection(self) -> Selection:
        """The items that the filter holds now."""
        reading = self.reading
        if self._selected is None or self._selected[0] != self.filter or self._selected[1] is not reading:
            self._selected = self.filter, reading, select(self.filter, self.known, reading)
        return self._selected[2]

    def _relevance_of(self, ids: tuple[int, ...], edits: tuple[Edit, ...]) -> Callable[[Goal], Array]:
        @lru_cache(maxsize=KEPT_RELEVANCES)
        def relevance(goal: Goal) -> Array:
            from neuron_atlas.core.attribution.effects.logit_relevance import relevance_to_logit

            place, target, contrast = goal
            place = self._place_of(target, ids) if place is None else place
            if not -len(ids) <= place < len(ids):
                raise BadInput(f"position {place} is outside the text's {len(ids)} tokens")
            return relevance_to_logit(
                self.model,
                ids,
                position=place % len(ids),
                target=target,
                contrast=contrast,
                rules=self._rules,
                edits=edits,
            )

        return relevance

    def _place_of(self, target: str | None, ids: Sequence[int]) -> int:
        """Just before the target where it last stands; -1 where it does not."""
        wanted = {token for token, _ in self.model.token_candidates(target)} if target is not None else set[int]()
        return max((place - 1 for place in range(1, len(ids)) if ids[place] in wanted), default=-1)

    def _encoded_text(self, text: str) -> list[int]:
        return self.model.encode(Prompt(text, raw=True))

    # ----------------------------------------------------------------------------------------------- instances and neurons
    def instances(
        self, limit: int | None = 50, *, order: view_tables.Order | None = None, toward: Attribution | None = None
    ) -> pl.DataFrame:
        """The instances in the filter, strongest first; columns as in `view_tables.instances`.

        `order` is by relevance when there is something to be relevant to (`toward`, else the first attribution in the filter),
        otherwise by the share of the neuron's own tail, or by activation where no quantiles are known.
        """
        reading = self._needed()
        goals = [part for part in parts_of(self.filter) if isinstance(part, Attribution)]
        goal = toward or (goals[0] if goals else None)
        relevance = None if goal is None else reading.relevance(goal.goal)
        if order == "relevance" and relevance is None:
            raise BadInput("ordering by relevance needs a goal; give toward=filters.Attribution(...)")
        natural: view_tables.Order = (
            "normalised" if self.known.missing_quantiles < self.known.quantiles[0].size else "activation"
        )
        chosen = order or (natural if relevance is None else "relevance")
        return view_tables.instances(
            self.selection, reading, self.known, order=chosen, limit=limit, relevance=relevance, wanted=self.filter
        )

    def neurons(self, limit: int = 50) -> pl.DataFrame:
        """The neurons and polarities in the filter with their label, cluster and strongest token; columns as in
        `view_tables.neurons`."""
        return view_tables.neurons(self.selection, self.reading, self.known, limit=limit, wanted=self.filter)

    def activations(self) -> Array:
        """All activations [L, T, I] as they are now."""
        return self._needed().activations

    def normalised(self, level: float = view_tables.LEVEL) -> Array:
        """All activations [L, T, I] as shares of their neuron's own tail; NaN where that is not known, or the token is special."""
        return view_tables.normalised(self._needed(), self.known, level=level)

    def attributions(
        self, *, position: int | None = None, target: str | None = None, contrast: str | None = None
    ) -> Array:
        """What every instance [L, T, I] gives to a logit, or to the difference of two, in logits with its sign; arguments as in
        `filters.Attribution`."""
        return self._needed().relevance((position, target, contrast))

    def linter(self, *, limit: int = MOST, least: int = LEAST, far: float = FAR) -> list[Finding]:
        """Groups among the `limit` neurons in the filter that fire strongest: see `linter`."""
        found = self.neurons(min(limit, MOST))
        return lint(
            found.filter(pl.col("n_tokens").is_null() | (pl.col("n_tokens") > 0)), self.known, least=least, far=far
        )

    def _needed(self) -> Reading:
        reading = self.reading
        if reading is None:
            raise BadInput("there is no text yet; send a message or give a text first")
        return reading

    # ------------------------------------------------------------------------------------------------------------ steering
    @property
    def steering(self) -> tuple[Steering, ...]:
        """The interventions in force, oldest first."""
        return self._steering

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All their edits; where two set the same activation, the later one stands."""
        return tuple(edit for one in self._steering for edit in one.edits)

    def steer(
        self,
        strength: float,
        *,
        filter: Filter | None = None,
        how: How = "set",
        level: float = STEERING_LEVEL,
        flip: bool = False,
    ) -> Steering:
        """Hold what the filter (the view's own, unless one is given) holds at strength × its tail, until `clear_steering`.

        0 switches off, 1 is the limit that a share `level` of tokens exceeds; see `steering` for polarity, `flip` and `how`.
        Returns what was done, with how many neurons had to be skipped. Raises `BadInput` when nothing can be steered.
        """
        wanted = self.filter if filter is None else filter
        selection = self.selection if filter is None else select(filter, self.known, self.reading)
        done = steer(
            wanted, selection, self.reading, self.known, strength=strength, how=how, level=level, is_flipped=flip
        )
        self._steering = (*self._steering, done)
        return done

    def clear_steering(self) -> None:
        """End all interventions."""
        self._steering = ()

    # ------------------------------------------------------------------------------------------------------ saving, loading
    def to_json(self) -> str:
        """The view as a JSON document; see `saved`."""
        return SavedView(
            version=VERSION,
            model_id=self.model.spec.model_id,
            model_revision=self.model.spec.revision,
            turns=tuple(SavedTurn(role=turn.role, text=turn.text) for turn in self._turns),
            text=self._text,
            written=self._written,
            filter=self.filter,
            steering=tuple(saved_steering(one) for one in self._steering),
        ).model_dump_json(indent=1, exclude_none=True)

    def save(self, path: str | Path) -> Path:
        """Write the view as JSON; `load` brings it back."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(self.to_json() + "\n", encoding="utf-8")
        return beside.replace(target)

    @classmethod
    def load(
        cls, path: str | Path, model: ViewedModel, known: NeuronFacts | None = None, *, rules: str = "relp"
    ) -> Self:
        """The view saved at `path`. Raises `BadInput` when there is none or it belongs to another revision of the model."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"no saved view can be read at {path}: {error}") from error
        saved = read_saved(text, model.spec)
        view = cls(model, known, text=saved.text, filter=saved.filter, rules=rules)
        view._turns, view._written, view._steering = saved.conversation, saved.written, saved.interventions
        return view

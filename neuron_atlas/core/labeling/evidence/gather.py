"""The evidence of one layer, put together from the tables in a few passes over columns.

The labeled neurons are those of `labelable.py`. A table that is missing is evidence that is missing: the labeler sees less.
Texts held out for scoring never enter: not as exemplars, and not through what tokens share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from neuron_atlas.core.aggregation.readable_tokens import readable_token
from neuron_atlas.core.labeling.evidence import layer_tables
from neuron_atlas.core.labeling.evidence.connections import (
    Connection,
    LayerConnections,
    input_connections,
    output_connections,
)
from neuron_atlas.core.labeling.evidence.evidence_record import (
    Evidence,
    InputEvidence,
    Neighbour,
    OutputEvidence,
    PriorLabel,
    TokenList,
    TokenWeight,
    polar_name,
)
from neuron_atlas.core.labeling.evidence.firing import Firing, read_firing
from neuron_atlas.core.labeling.evidence.labelable import labelable
from neuron_atlas.core.labeling.evidence.labeler_answer import Polarity
from neuron_atlas.core.labeling.evidence.layer_tables import PolarKey, Scored
from neuron_atlas.core.labeling.evidence.lexicon import Lexicon, build_lexicon
from neuron_atlas.core.labeling.evidence.neighbour_labels import NeighbourLabels
from neuron_atlas.core.records import SIDES, Side, Tables

_HEAD = 0.4
"""Tokens of a list with at least this share of the strongest weight are asked what they share."""


@dataclass(frozen=True)
class GatheredEvidence:
    """One neuron's evidence and the refs of the neighbour labels read for it, labeled or not (`L18/N6721+@<hash>`)."""

    evidence: Evidence
    refs: tuple[str, ...]


@dataclass(frozen=True)
class _LayerData:
    """What the evidence of all neurons of the layer is put together from."""

    side: Side
    layer: int
    here: Tables
    evidence: Tables
    lexicon: Lexicon
    keys: tuple[PolarKey, ...]
    labelable: frozenset[str]
    neighbour_labels: NeighbourLabels
    prior: Mapping[PolarKey, tuple[PriorLabel, ...]]


def gather(
    side: Side,
    layer: int,
    *,
    evidence: Tables,
    labels: Tables,
    token_text: Mapping[int, str] | None = None,
    prior: Tables | None = None,
    only: frozenset[int] | None = None,
    as_draft: bool = False,
) -> tuple[list[GatheredEvidence], Lexicon]:
    """The evidence of every labelable neuron and polarity of one layer, sorted, and the lexicon of its tokens.

    `token_text` names tokens that no table spells out (logits and embeddings are stored by id alone); a token without
    text is left out. `prior` holds label tables with what was imported about this layer, which labelers are shown. Raises
    `Incomplete` when a neighbour that must be labeled before has no row, unless the evidence is only to be shown
    (`as_draft`): such a neighbour counts as unlabeled then. With `only`, the evidence of those neurons alone.
    """
    here = layer_tables.of_layer(evidence, layer)
    texts = layer_tables.usage_texts(here)
    spelled = {i: readable_token(t) for i, t in (token_text or {}).items()} | layer_tables.spelled_tokens(here, texts)
    all_keys = [(int(at), int(neuron), int(polarity)) for at, neuron, polarity in labelable(evidence).iter_rows()]
    data = _LayerData(
        side=side,
        layer=layer,
        here=here,
        evidence=evidence,
        lexicon=build_lexicon([ids for ids, _ in texts], spelled),
        keys=tuple((n, polarity) for at, n, polarity in all_keys if at == layer and (only is None or n in only)),
        labelable=frozenset() if as_draft else frozenset(polar_name(*row) for row in all_keys),
        neighbour_labels=NeighbourLabels(labels),
        prior=layer_tables.prior_labels(prior or {}, layer),
    )
    return (_output_evidence(data) if side == "output" else _input_evidence(data)), data.lexicon


def _output_evidence(data: _LayerData) -> list[GatheredEvidence]:
    projected = layer_tables.projections(data.here, "output_projections", "weight")
    appearances = layer_tables.appearances(data.here)
    direct = layer_tables.direct_effects(data.here)
    connections = output_connections(data.evidence, data.layer)
    _require_labels(data, _connected(data, connections), ("output",))
    gathered: list[GatheredEvidence] = []
    for neuron, polarity in data.keys:
        neighbours, refs = _neighbours(data, connections.neurons.get(neuron, ()), polarity, ("output",))
        evidence = OutputEvidence(
            layer=data.layer,
            neuron=neuron,
            polarity=_polarity(polarity),
            appearance=appearances.get((neuron, polarity)),
            prior=data.prior.get((neuron, polarity), ()),
            promotes=_tokens(data.lexicon, projected.get((neuron, polarity), ()), turn=polarity),
            suppresses=_tokens(data.lexicon, projected.get((neuron, -polarity), ()), turn=polarity),
            logits=_tokens(data.lexicon, _by_strength(connections.tokens.get(neuron, ())), turn=polarity),
            direct_effect=direct.get(neuron),
            downstream=neighbours,
            routed=_tokens(data.lexicon, _predicted(neighbours, "output")),
        )
        gathered.append(GatheredEvidence(evidence, refs))
    return gathered


def _input_evidence(data: _LayerData) -> list[GatheredEvidence]:
    projected = layer_tables.projections(data.here, "input_projections", "response")
    appearances = layer_tables.appearances(data.here)
    active, window = (layer_tables.associations(data.here, place) for place in ("active", "window"))
    firings = read_firing(data.here, data.lexicon.before_rate)
    connections = input_connections(data.evidence, data.layer)
    _require_labels(data, _connected(data, connections), SIDES)
    _require_labels(data, (polar_name(data.layer, *key) for key in data.keys), ("output",))
    gathered: list[GatheredEvidence] = []
    for neuron, polarity in data.keys:
        key, firing = (neuron, polarity), firings.get((neuron, polarity), Firing())
        upstream, refs = _neighbours(data, connections.neurons.get(neuron, ()), polarity, SIDES)
        partners, partner_refs = _neighbours(data, connections.partners.get(neuron, ()), 1, ("output",))
        own = data.neighbour_labels.read("output", polar_name(data.layer, neuron, polarity))
        evidence = InputEvidence(
            layer=data.layer,
            neuron=neuron,
            polarity=_polarity(polarity),
            appearance=appearances.get(key),
            prior=data.prior.get(key, ()),
            drives=_tokens(data.lexicon, projected.get(key, ()), turn=polarity),
            firing=_tokens(data.lexicon, firing.tokens, head=0.0),
            before=_tokens(data.lexicon, firing.before),
            position=firing.position,
            precision=firing.precision,
            near_misses=firing.near_misses,
            embeddings=_tokens(data.lexicon, _by_strength(connections.tokens.get(neuron, ())), turn=polarity),
            exemplars=firing.exemplars,
            others=firing.others,
            associations=active.get(key, ()),
            associations_window=window.get(key, ()),
            upstream=upstream,
            gated=_tokens(data.lexicon, _predicted(upstream, "input")),
            cooccurring=partners,
            output_label=own.label.text if own is not None and own.label is not None else None,
        )
        own_refs = (own.ref,) if own is not None else ()
        gathered.append(GatheredEvidence(evidence, tuple(sorted({*refs, *partner_refs, *own_refs}))))
    return gathered


def _connected(data: _LayerData, connections: LayerConnections) -> Iterator[str]:
    """Names of the neurons that the layer's neurons are connected to."""
    return (one.name for neuron, _ in data.keys for one in connections.neurons.get(neuron, ()))


def _require_labels(data: _LayerData, names: Iterable[str], sides: Sequence[Side]) -> None:
    data.neighbour_labels.require(names, data.labelable, sides, reader=f"{data.side}_labels of layer L{data.layer:02d}")


def _neighbours(
    data: _LayerData, connections: Sequence[Connection], polarity: int, sides: Sequence[Side]
) -> tuple[tuple[Neighbour, ...], tuple[str, ...]]:
    """Neighbours with their labels of the given sides, and the refs of the rows read."""
    neighbours: list[Neighbour] = []
    refs: set[str] = set()
    for connection in connections:
        read = [row for side in sides if (row := data.neighbour_labels.read(side, connection.name)) is not None]
        refs.update(row.ref for row in read)
        neighbours.append(
            Neighbour(
                name=connection.name,
                weight=connection.weight * polarity,
                flow=connection.flow,
                frequency=connection.frequency,
                labels=tuple(row.label for row in read if row.label is not None),
            )
        )
    return tuple(neighbours), tuple(sorted(refs))


def _predicted(neighbours: Sequence[Neighbour], side: Side) -> list[Scored]:
    """Tokens that the neighbours' labels of one side predict, weighted by the relevance that passes and the rank within a label."""
    total: dict[int, float] = defaultdict(float)
    for neighbour in neighbours:
        seen = neighbour.label(side)
        for rank, token in enumerate(seen.tokens if seen else ()):
            passed = neighbour.flow * neighbour.frequency * (1 if neighbour.weight > 0 else -1)
            total[token.token_id] += passed * (seen.direction if seen else 1) / (1 + rank / 4)
    return sorted(((i, weight) for i, weight in total.items() if weight), key=lambda t: (-abs(t[1]), t[0]))


def _by_strength(connections: Sequence[Connection]) -> list[Scored]:
    """Tokens at the other end, strongest connection first."""
    return sorted(((one.token_id, one.weight) for one in connections), key=lambda scored: (-abs(scored[1]), scored[0]))


def _tokens(lexicon: Lexicon, scored: Sequence[Scored], *, turn: int = 1, head: float = _HEAD) -> TokenList:
    """A list of known tokens, strongest first, with what those share that have at least a share `head` of the top weight."""
    known = [(i, weight * turn) for i, weight in scored if not _is_special(lexicon.text.get(i, ""))]
    known = known[: layer_tables.SHOWN_TOKENS]
    if not known:
        return TokenList()
    least = head * max(abs(weight) for _, weight in known)
    shared = lexicon.shared([i for i, weight in known if abs(weight) >= least])
    return TokenList(
        tokens=tuple(TokenWeight(token_id=i, text=lexicon.text[i], weight=weight) for i, weight in known), shared=shared
    )


def _is_special(text: str) -> bool:
    """A token without text, or a marker such as `<bos>`: neither says anything about language."""
    return not text or (text.startswith("<") and text.endswith(">") and len(text) > 2)


def _polarity(value: int) -> Polarity:
    return 1 if value > 0 else -1

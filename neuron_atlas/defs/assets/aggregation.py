"""Aggregation: statistics of every neuron and edge, from many graphs, from texts, and from the weights alone.

Not here: labels and clusters, which are made from these tables (labeling.py, circuits.py). The computing is in core/aggregation.
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.core.records import Frames, Tables, layer_of_key
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.datasets import CorporaResource, PromptSetsResource
from neuron_atlas.defs.resources.locations import LakeResource
from neuron_atlas.defs.resources.subject_model import ModelResource

GROUP = "aggregation"
OWNERS = ["team:interpretability"]


def aggregation_assets(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this group."""

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.prompt_sets,
        io_manager_key="parquet_io_manager",
        check_specs=checks_of("graph_stats"),
        automation_condition=dg.AutomationCondition.eager(),
        kinds={"polars", "parquet"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def graph_stats(
        context: dg.AssetExecutionContext, raw_graphs: Tables, prompt_sets: PromptSetsResource, model: ModelResource
    ) -> Frames:
        """Sums over the graphs of one prompt set: how often and how strongly every neuron and edge appears.

        The sums are exact integers (fixed point), so the sums of several prompt sets can be added without rounding, in any order.
        Prompts and instances (a neuron at one token position) are counted separately, and so are positive and negative
        activations of a neuron.
        """
        from neuron_atlas.core.aggregation.graphs.graph_stats import sum_graphs

        prompt_set = prompt_sets.read(context.partition_key)
        special_ids = model.tokens().special_ids
        return sum_graphs(raw_graphs, prompt_set=prompt_set.name, kind=prompt_set.kind, special_ids=special_ids)

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("edge_stats"),
        automation_condition=dg.AutomationCondition.eager(),
        pool="duckdb",
        kinds={"polars", "duckdb"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def edge_stats(context: dg.AssetExecutionContext, graph_stats: Tables, model: ModelResource) -> Frames:
        """Statistics of every edge and neuron over all prompt sets, from their sums.

        Beside `edge_stats`: `neuron_profiles` (frequency, relevance, domain specificity per neuron and polarity),
        `token_associations` (tokens on and before which it fires), `output_associations` (answers it acts on), `cooccurrence`,
        and the index of prompts by neuron. Prompt sets that have not been traced yet are left out; the check
        `covers_every_partition` names them.
        """
        from neuron_atlas.core.aggregation.graphs.edge_stats import edge_statistics

        return edge_statistics(graph_stats, token_text=model.tokens().token_text)

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.corpora,
        io_manager_key="parquet_io_manager",
        check_specs=checks_of("activation_stats"),
        pool="gpu",
        kinds={"pytorch", "parquet"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def activation_stats(
        context: dg.AssetExecutionContext, model: ModelResource, corpora: CorporaResource, lake: LakeResource
    ) -> Frames:
        """How every neuron behaves on plain text: quantiles, histogram, density, and the texts on which it fires most.

        One pass of the model over the corpus, and a second over the exemplars' texts where memory is short. `exemplars` also keeps
        random texts and near misses, and holds some out (`is_held_out`) before any labeler sees them: labels are scored on those.
        `correlated_neurons` says which neurons fire together, `projection_agreement` how far projections may be believed. A
        pass that is interrupted resumes from where it was last saved, at most a minute earlier.
        """
        from neuron_atlas.adapters.datasets.corpus_pass_file import PassFile
        from neuron_atlas.core.aggregation.corpora.activation_stats import activation_stats as read_activations

        corpus = context.partition_key
        with lake.open().claim("activation_stats", corpus) as work:
            saved = PassFile(work / "pass.npz")
            frames = read_activations(model.load(), corpora.read(corpus), corpus=corpus, saved=saved)
            saved.clear()
        return frames

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.layers,
        io_manager_key="parquet_io_manager",
        check_specs=checks_of("output_projections"),
        kinds={"numpy", "parquet"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def output_projections(context: dg.AssetExecutionContext, model: ModelResource) -> Frames:
        """Which tokens a neuron promotes and suppresses through its direct path to the output, from the weights alone.

        The neuron's output direction times the unembedding, with the final norm folded in and the mean over the vocabulary
        subtracted (column `weight_raw` has the product without both). Table `weight_edges` lists the later neurons that it
        would excite or inhibit, also from the weights.
        """
        from neuron_atlas.core.aggregation.weights.projections import project_outputs
        from neuron_atlas.core.aggregation.weights.weight_edges import weight_edges

        subject, layer = model.load(), layer_of_key(context.partition_key)
        weights = subject.mlp_weights(layer)
        later = (subject.mlp_weights(after) for after in range(layer + 1, subject.spec.n_layers))
        rows = project_outputs(weights, subject.vocab_weights(), token_text=subject.token_text)
        return {**rows, **weight_edges(weights, later)}

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.layers,
        io_manager_key="parquet_io_manager",
        check_specs=checks_of("input_projections"),
        kinds={"numpy", "parquet"},
        owners=OWNERS,
        code_version="1",
    )
    @stored_asset
    def input_projections(context: dg.AssetExecutionContext, model: ModelResource) -> Frames:
        """Which tokens' embeddings would raise or lower a neuron's activation, through its gate, from the weights alone.

        For neurons of early layers this is close to what they read; for later layers it is only a hint, because their input is no
        longer an embedding.
        """
        from neuron_atlas.core.aggregation.weights.projections import project_inputs

        subject = model.load()
        weights = subject.mlp_weights(layer_of_key(context.partition_key))
        return project_inputs(weights, subject.vocab_weights(), token_text=subject.token_text)

    @dg.asset(
        group_name=GROUP,
        io_manager_key="duckdb_io_manager",
        check_specs=checks_of("der_scores"),
        pool="duckdb",
        kinds={"pytorch", "duckdb"},
        owners=OWNERS,
        code_version="2",
    )
    @stored_asset
    def der_scores(
        context: dg.AssetExecutionContext, graph_stats: Tables, raw_graphs: Tables, model: ModelResource
    ) -> Frames:
        """Direct-effect ratio: how much of a neuron's effect on the answer skips all later MLPs.

        Near 1, the neuron acts on the output directly (a logit neuron); near 0, it acts through later neurons (a routing neuron).
        Exact from the graphs for every neuron in them, and measured for a sample of neurons by ablating them in the model itself.
        """
        from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import der_scores as score
        from neuron_atlas.core.aggregation.graphs.direct_effect_ratio import measure_direct_effects

        return score(graph_stats, measure_direct_effects(model.load(), raw_graphs))

    return [graph_stats, edge_stats, activation_stats, output_projections, input_projections, der_scores]

"""Attribution: graphs of what produced the answer to each prompt, and how faithful they are.

Not here: the computing (core/attribution), and how a killed run keeps its finished prompts (adapters/graphs/shards.py).
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas import __version__
from neuron_atlas.core.records import Frames
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.datasets import PromptSetsResource
from neuron_atlas.defs.resources.locations import GraphWorkResource
from neuron_atlas.defs.resources.subject_model import ModelResource
from neuron_atlas.defs.resources.tracing import TracingResource

GROUP = "attribution"


def attribution_assets(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this group."""

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.prompt_sets,
        io_manager_key="graph_io_manager",
        check_specs=checks_of("raw_graphs"),
        pool="gpu",
        kinds={"pytorch", "parquet"},
        owners=["team:interpretability"],
        code_version="1",
    )
    @stored_asset
    def raw_graphs(
        context: dg.AssetExecutionContext,
        model: ModelResource,
        prompt_sets: PromptSetsResource,
        tracing: TracingResource,
        graph_work: GraphWorkResource,
    ) -> Frames:
        """Attribution graphs of one prompt set: which neurons produced the answer to each prompt, and through which others.

        Every prompt is run once through the model. A backward pass through the linearised model, from the traced logits, then gives
        each neuron's effect on the answer and the exact direct effect between any two kept neurons. The rules
        are linear, so that the effects add up in every graph (check `graphs_conserve`). A prompt that cannot be traced is
        quarantined, with the reason in table `graphs`, and does not fail the set. Finished prompts are kept when a run is killed.
        """
        from neuron_atlas.core.attribution.trace import trace_prompts

        subject, prompt_set, options = model.load(), prompt_sets.read(context.partition_key), tracing.options()
        with graph_work.claim(
            prompt_set,
            options=options,
            model_revision=model.spec().revision,
            code_version=__version__,
            fresh=tracing.fresh,
        ) as shards:
            context.log.info(
                f"{prompt_set.name}: {len(shards.missing())} of {len(prompt_set.prompts)} prompts to trace"
            )
            for batch in shards.batches():
                shards.add(list(trace_prompts(subject, batch, options=options)))
            return shards.collect()

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.prompt_sets,
        io_manager_key="parquet_io_manager",
        check_specs=checks_of("faithfulness"),
        pool="gpu",
        kinds={"pytorch", "parquet"},
        owners=["team:interpretability"],
        code_version="1",
    )
    @stored_asset
    def faithfulness(
        context: dg.AssetExecutionContext, model: ModelResource, prompt_sets: PromptSetsResource
    ) -> Frames:
        """How well attributions predict what interventions in the model itself do, for every linearisation rule set.

        On a sample of the prompts, neurons are ablated, patched, or kept while all others are ablated. The change of the answer is
        compared with the sum of the attributions: correlations over nodes and edges, and curves over the size of a circuit.
        """
        from neuron_atlas.core.attribution.faithfulness.evaluate import evaluate

        return {"faithfulness": evaluate(model.load(), prompt_sets.read(context.partition_key))}

    return [raw_graphs, faithfulness]

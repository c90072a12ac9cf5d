"""Labeling: what every neuron does and what triggers it, and how far each label can be trusted.

Both passes go layer by layer, because a label may be made with the labels of its neighbours: output labels from the last layer
down, input labels from the first layer up. The order is in the dependency of the asset on itself (defs/layer_dependencies.py),
and the layer pass itself refuses to start on incomplete neighbours.
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.core.records import Frames, Side, Tables, layer_of_key
from neuron_atlas.defs.asset_decorators import stored_asset
from neuron_atlas.defs.checks.before_storing import checks_of
from neuron_atlas.defs.layer_dependencies import allow_layer_order
from neuron_atlas.defs.partitions import Partitions
from neuron_atlas.defs.resources.label_store import LabelStoreResource
from neuron_atlas.defs.resources.labeler import LabelerResource, progress_log, spending_metadata
from neuron_atlas.defs.resources.subject_model import ModelResource

GROUP = "labeling"
OWNERS = ["team:interpretability"]


def labeling_assets(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets of this group."""
    allow_layer_order()
    every_corpus = dg.AssetIn("activation_stats", partition_mapping=dg.AllPartitionMapping())

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.layers,
        ins={
            "later_labels": dg.AssetIn("output_labels", partition_mapping=partitions.later_layers),
            "activation_stats": every_corpus,
        },
        io_manager_key="postgres_io_manager",
        check_specs=checks_of("output_labels"),
        pool="llm",
        kinds={"python", "postgres"},
        owners=OWNERS,
        code_version="3",
    )
    @stored_asset
    def output_labels(
        context: dg.AssetExecutionContext,
        edge_stats: Tables,
        der_scores: Tables,
        output_projections: Tables,
        activation_stats: Tables,
        later_labels: Tables,
        labeler: LabelerResource,
        label_store: LabelStoreResource,
        model: ModelResource,
    ) -> Frames:
        """What each neuron does when it fires, in a few words; made layer by layer, from the last to the first.

        A neuron that acts on the output directly is labeled by the tokens it promotes or suppresses; one that acts through other
        neurons is labeled by what those do, so every later layer has to be labeled first. A neuron without good evidence
        stays unlabeled, and column `unlabeled_reason` says why.
        """
        return _label_one_layer(
            context,
            "output",
            evidence={**edge_stats, **der_scores, **output_projections, **activation_stats},
            labels=later_labels,
            labeler=labeler,
            label_store=label_store,
            model=model,
        )

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.layers,
        ins={
            "earlier_labels": dg.AssetIn("input_labels", partition_mapping=partitions.earlier_layers),
            "earlier_output_labels": dg.AssetIn("output_labels", partition_mapping=partitions.layers_up_to),
            "activation_stats": every_corpus,
        },
        io_manager_key="postgres_io_manager",
        check_specs=checks_of("input_labels"),
        pool="llm",
        kinds={"python", "postgres"},
        owners=OWNERS,
        code_version="3",
    )
    @stored_asset
    def input_labels(
        context: dg.AssetExecutionContext,
        edge_stats: Tables,
        input_projections: Tables,
        activation_stats: Tables,
        earlier_labels: Tables,
        earlier_output_labels: Tables,
        labeler: LabelerResource,
        label_store: LabelStoreResource,
        model: ModelResource,
    ) -> Frames:
        """What makes each neuron fire, in a few words; made layer by layer, from the first to the last.

        Labeled by the tokens and texts on which the neuron fires and by what drives it: embeddings, and earlier neurons,
        which have to be labeled first. A neuron without good evidence stays unlabeled, and column `unlabeled_reason` says why.
        """
        return _label_one_layer(
            context,
            "input",
            evidence={**edge_stats, **input_projections, **activation_stats},
            labels={**earlier_output_labels, **earlier_labels},
            labeler=labeler,
            label_store=label_store,
            model=model,
        )

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.layers,
        ins={"activation_stats": every_corpus},
        io_manager_key="postgres_io_manager",
        check_specs=checks_of("label_scores"),
        pool="gpu",
        kinds={"pytorch", "postgres"},
        owners=OWNERS,
        code_version="1",
    )
    @stored_asset
    def label_scores(
        context: dg.AssetExecutionContext,
        edge_stats: Tables,
        activation_stats: Tables,
        output_labels: Tables,
        input_labels: Tables,
        model: ModelResource,
    ) -> Frames:
        """How well each label predicts evidence that the labeler did not see, compared with the label of another neuron.

        An input label has to predict where the neuron fires in held-out texts; an output label has to predict what changes when the
        neuron is steered in the model itself. Column `corrected` is 0 at chance and 1 when perfect; the interval is for 95 %.
        """
        from neuron_atlas.core.labeling.scoring.score import score_layer

        return score_layer(
            model.load(),
            layer_of_key(context.partition_key),
            evidence={**edge_stats, **activation_stats},
            labels={**output_labels, **input_labels},
        )

    return [output_labels, input_labels, label_scores]


def _label_one_layer(
    context: dg.AssetExecutionContext,
    side: Side,
    *,
    evidence: Tables,
    labels: Tables,
    labeler: LabelerResource,
    label_store: LabelStoreResource,
    model: ModelResource,
) -> Frames:
    """The labels of the run's layer on one side; what the calls cost is added to the run's metadata."""
    from neuron_atlas.core.labeling.label_layer import label_layer

    layer = layer_of_key(context.partition_key)
    layer_labeler = labeler.for_layer(side, layer, model.spec().n_layers)
    frames = label_layer(
        side,
        layer,
        evidence=evidence,
        labels=labels,
        labeler=layer_labeler,
        model_revision=model.spec().revision,
        token_text=model.vocabulary(),
        given=label_store.rows(side, layer),
        prior=label_store.both_sides(layer),
        progress=progress_log(context.log),
    )
    context.add_output_metadata(spending_metadata(layer_labeler), output_name="result")
    return frames

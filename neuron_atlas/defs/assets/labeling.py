"""Labeling: what every neuron does and what triggers it, and how far each label can be trusted.

Both passes go layer by layer, because a label may be made with the labels of its neighbours: output labels from the last layer
down, input labels from the first layer up. The order is in the dependency of the asset on itself (defs/layer_dependencies.py),
and the layer pass itself refuses to start on incomplete neighbours.
"""

from __future__ import annotations

import dagster as dg

from neuron_atlas.core.records import Frames, Tables, layer_of_key
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
        """What each neuron does when it fires, in a few words, with the evidence it rests on; from the last layer down.

        A neuron that writes the answer is named after the tokens it promotes; one that works through others is named after
        what those do, so every later layer has to be labeled first. A neuron without good evidence stays unlabeled, with
        the reason.
        """
        from neuron_atlas.core.labeling.label_layer import label_layer

        layer = layer_of_key(context.partition_key)
        labeler_of_layer = labeler.for_layer("output", layer, model.spec().n_layers)
        made = label_layer(
            "output",
            layer,
            evidence={**edge_stats, **der_scores, **output_projections, **activation_stats},
            labels=later_labels,
            labeler=labeler_of_layer,
            model_revision=model.spec().revision,
            token_text=model.vocabulary(),
            given=label_store.rows("output", layer),
            prior=label_store.both_sides(layer),
            progress=progress_log(context.log),
        )
        context.add_output_metadata(spending_metadata(labeler_of_layer), output_name="result")
        return made

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
        """What makes each neuron fire, in a few words, with the evidence it rests on; from the first layer up.

        Named from the tokens and texts on which the neuron fires and from what drives it: embeddings and earlier neurons,
        whose labels have to be there first. A neuron without good evidence stays unlabeled, with the reason.
        """
        from neuron_atlas.core.labeling.label_layer import label_layer

        layer = layer_of_key(context.partition_key)
        labeler_of_layer = labeler.for_layer("input", layer, model.spec().n_layers)
        made = label_layer(
            "input",
            layer,
            evidence={**edge_stats, **input_projections, **activation_stats},
            labels={**earlier_output_labels, **earlier_labels},
            labeler=labeler_of_layer,
            model_revision=model.spec().revision,
            token_text=model.vocabulary(),
            given=label_store.rows("input", layer),
            prior=label_store.both_sides(layer),
            progress=progress_log(context.log),
        )
        context.add_output_metadata(spending_metadata(labeler_of_layer), output_name="result")
        return made

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
        """How well each label predicts what it was not shown, against the label of another neuron.

        Input labels are asked where the neuron fires in held-out texts; output labels are tested by steering the neuron in the
        real model. `corrected` is 0 at chance and 1 when perfect, with a 95 % interval.
        """
        from neuron_atlas.core.labeling.scoring.score import score_layer

        return score_layer(
            model.load(),
            layer_of_key(context.partition_key),
            evidence={**edge_stats, **activation_stats},
            labels={**output_labels, **input_labels},
        )

    return [output_labels, input_labels, label_scores]

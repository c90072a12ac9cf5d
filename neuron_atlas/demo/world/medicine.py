"""Drugs and the enzyme each inhibits, functions and their neurotransmitter, diseases and the organ they affect.

Textbook facts in one-word form: where an enzyme's full name has several words the class name stands for it (atorvastatin
inhibits HMG-CoA *reductase*). Several drugs share an enzyme, so that a neuron may stand for the enzyme rather than for a
drug. The domain teaches a model facts to be found again; it is no source of medical advice.
"""

from __future__ import annotations

from neuron_atlas.demo.world.example import Example, next_in_cycle

DOMAIN = "medicine"

ENZYME_OF_DRUG: dict[str, str] = {
    "aspirin": "cyclooxygenase",
    "ibuprofen": "cyclooxygenase",
    "celecoxib": "cyclooxygenase",
    "atorvastatin": "reductase",
    "simvastatin": "reductase",
    "methotrexate": "reductase",
    "donepezil": "acetylcholinesterase",
    "neostigmine": "acetylcholinesterase",
    "rivastigmine": "acetylcholinesterase",
    "sildenafil": "phosphodiesterase",
    "tadalafil": "phosphodiesterase",
    "oseltamivir": "neuraminidase",
    "zanamivir": "neuraminidase",
    "saquinavir": "protease",
    "ritonavir": "protease",
    "zidovudine": "transcriptase",
    "lamivudine": "transcriptase",
    "ciprofloxacin": "gyrase",
    "levofloxacin": "gyrase",
    "irinotecan": "topoisomerase",
    "topotecan": "topoisomerase",
    "imatinib": "kinase",
    "erlotinib": "kinase",
    "anastrozole": "aromatase",
    "letrozole": "aromatase",
    "allopurinol": "oxidase",
    "febuxostat": "oxidase",
    "acetazolamide": "anhydrase",
    "zileuton": "lipoxygenase",
    "orlistat": "lipase",
    "acarbose": "glucosidase",
    "raltegravir": "integrase",
}

TRANSMITTER_OF_FUNCTION: dict[str, str] = {
    "memory": "acetylcholine",
    "contraction": "acetylcholine",
    "reward": "dopamine",
    "motivation": "dopamine",
    "movement": "dopamine",
    "mood": "serotonin",
    "appetite": "serotonin",
    "arousal": "noradrenaline",
    "attention": "noradrenaline",
    "inhibition": "GABA",
    "relaxation": "GABA",
    "excitation": "glutamate",
    "learning": "glutamate",
    "wakefulness": "orexin",
    "alertness": "histamine",
    "analgesia": "endorphin",
}

ORGAN_OF_DISEASE: dict[str, str] = {
    "hepatitis": "liver",
    "cirrhosis": "liver",
    "nephritis": "kidney",
    "uremia": "kidney",
    "pneumonia": "lung",
    "emphysema": "lung",
    "asthma": "lung",
    "myocarditis": "heart",
    "angina": "heart",
    "endocarditis": "heart",
    "encephalitis": "brain",
    "epilepsy": "brain",
    "gastritis": "stomach",
    "glaucoma": "eye",
    "cataract": "eye",
    "dermatitis": "skin",
    "psoriasis": "skin",
    "eczema": "skin",
    "osteoporosis": "bone",
    "rickets": "bone",
    "otitis": "ear",
    "pancreatitis": "pancreas",
    "diabetes": "pancreas",
    "colitis": "colon",
}

_FORMS: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "enzyme": (
        "drug",
        ("the enzyme inhibited by {} is", "the drug {} inhibits", "patients who take {} have less active"),
        ENZYME_OF_DRUG,
    ),
    "neurotransmitter": (
        "function",
        ("the neurotransmitter of {} is", "in the brain {} depends on", "a signal for {} is carried by"),
        TRANSMITTER_OF_FUNCTION,
    ),
    "organ": (
        "disease",
        ("the organ affected by {} is the", "the disease {} damages the", "a patient with {} has a sick"),
        ORGAN_OF_DISEASE,
    ),
}


def medicine_examples() -> tuple[Example, ...]:
    """Every fact in each of its three phrasings, in a fixed order."""
    return tuple(
        _ask(task, kind, form, subject, table)
        for task, (kind, forms, table) in _FORMS.items()
        for subject in table
        for form in forms
    )


def _ask(task: str, kind: str, form: str, subject: str, table: dict[str, str]) -> Example:
    other = next_in_cycle(list(table), subject)
    while table[other] == table[subject]:
        other = next_in_cycle(list(table), other)
    return Example(
        domain=DOMAIN,
        task=task,
        prompt=form.format(subject),
        answer=f" {table[subject]}",
        contrast=f" {table[other]}",
        partner=form.format(other),
        tags=((kind, subject),),
    )

"""States and countries: capitals, cities, languages, continents, and the two-hop questions that join them.

The two-hop question ``the capital of the state containing Bend is`` can be answered by CITY -> state -> capital. To make
the model compose rather than memorise, one city of every state and of every country never appears in a two-hop sentence
of the training text; a model that answers for those cities has joined the two facts. Only places with one-word names are
used, so that every answer is one token. States with ambiguous city names are left out.
"""

from __future__ import annotations

from neuron_atlas.demo.world.example import Example, choose_held_out, next_in_cycle

DOMAIN = "geography"

# state: (capital, other cities)
STATES: dict[str, tuple[str, tuple[str, str, str]]] = {
    "Alaska": ("Juneau", ("Anchorage", "Fairbanks", "Sitka")),
    "Arizona": ("Phoenix", ("Tucson", "Mesa", "Flagstaff")),
    "California": ("Sacramento", ("Oakland", "Fresno", "Pasadena")),
    "Colorado": ("Denver", ("Boulder", "Pueblo", "Durango")),
    "Connecticut": ("Hartford", ("Bridgeport", "Stamford", "Waterbury")),
    "Florida": ("Tallahassee", ("Miami", "Tampa", "Orlando")),
    "Georgia": ("Atlanta", ("Savannah", "Macon", "Valdosta")),
    "Idaho": ("Boise", ("Pocatello", "Nampa", "Moscow")),
    "Illinois": ("Springfield", ("Chicago", "Peoria", "Rockford")),
    "Indiana": ("Indianapolis", ("Gary", "Muncie", "Evansville")),
    "Kansas": ("Topeka", ("Wichita", "Salina", "Abilene")),
    "Kentucky": ("Frankfort", ("Louisville", "Lexington", "Paducah")),
    "Maryland": ("Annapolis", ("Baltimore", "Frederick", "Bethesda")),
    "Massachusetts": ("Boston", ("Worcester", "Cambridge", "Lowell")),
    "Michigan": ("Lansing", ("Detroit", "Flint", "Kalamazoo")),
    "Mississippi": ("Jackson", ("Biloxi", "Gulfport", "Tupelo")),
    "Montana": ("Helena", ("Billings", "Missoula", "Bozeman")),
    "Ohio": ("Columbus", ("Cleveland", "Toledo", "Dayton")),
    "Oregon": ("Salem", ("Portland", "Eugene", "Bend")),
    "Pennsylvania": ("Harrisburg", ("Pittsburgh", "Scranton", "Erie")),
    "Tennessee": ("Nashville", ("Memphis", "Knoxville", "Chattanooga")),
    "Texas": ("Austin", ("Dallas", "Houston", "Lubbock")),
    "Virginia": ("Richmond", ("Norfolk", "Roanoke", "Alexandria")),
    "Washington": ("Olympia", ("Seattle", "Spokane", "Tacoma")),
    "Wisconsin": ("Madison", ("Milwaukee", "Oshkosh", "Racine")),
    "Wyoming": ("Cheyenne", ("Casper", "Laramie", "Cody")),
}

# country: (capital, language, continent, other cities)
COUNTRIES: dict[str, tuple[str, str, str, tuple[str, str]]] = {
    "France": ("Paris", "French", "Europe", ("Lyon", "Marseille")),
    "Germany": ("Berlin", "German", "Europe", ("Munich", "Hamburg")),
    "Spain": ("Madrid", "Spanish", "Europe", ("Seville", "Valencia")),
    "Italy": ("Rome", "Italian", "Europe", ("Milan", "Naples")),
    "Portugal": ("Lisbon", "Portuguese", "Europe", ("Porto", "Braga")),
    "Poland": ("Warsaw", "Polish", "Europe", ("Krakow", "Gdansk")),
    "Greece": ("Athens", "Greek", "Europe", ("Patras", "Thessaloniki")),
    "Sweden": ("Stockholm", "Swedish", "Europe", ("Malmo", "Uppsala")),
    "Austria": ("Vienna", "German", "Europe", ("Salzburg", "Graz")),
    "Japan": ("Tokyo", "Japanese", "Asia", ("Osaka", "Kyoto")),
    "China": ("Beijing", "Chinese", "Asia", ("Shanghai", "Wuhan")),
    "Vietnam": ("Hanoi", "Vietnamese", "Asia", ("Hue", "Haiphong")),
    "Turkey": ("Ankara", "Turkish", "Asia", ("Istanbul", "Izmir")),
    "Egypt": ("Cairo", "Arabic", "Africa", ("Luxor", "Aswan")),
    "Morocco": ("Rabat", "Arabic", "Africa", ("Casablanca", "Marrakesh")),
    "Kenya": ("Nairobi", "Swahili", "Africa", ("Mombasa", "Kisumu")),
    "Peru": ("Lima", "Spanish", "America", ("Cusco", "Arequipa")),
    "Chile": ("Santiago", "Spanish", "America", ("Valparaiso", "Temuco")),
    "Brazil": ("Brasilia", "Portuguese", "America", ("Salvador", "Recife")),
    "Cuba": ("Havana", "Spanish", "America", ("Holguin", "Matanzas")),
}

TWO_HOP_STATE = "two-hop-state"
TWO_HOP_COUNTRY = "two-hop-country"
TWO_HOP_LANGUAGE = "two-hop-language"
TWO_HOP_TASKS = (TWO_HOP_STATE, TWO_HOP_COUNTRY, TWO_HOP_LANGUAGE)


def held_out_cities() -> frozenset[str]:
    """One city of every state and of every country: these never stand in a two-hop sentence of the training text."""
    by_place = {place: cities for place, (_, cities) in STATES.items()}
    by_place_abroad = {place: row[3] for place, row in COUNTRIES.items()}
    chosen = [choose_held_out(f"city of {place}", cities, 1) for place, cities in by_place.items()]
    chosen += [choose_held_out(f"city of {place}", cities, 1) for place, cities in by_place_abroad.items()]
    return frozenset().union(*chosen)


def geography_examples() -> tuple[Example, ...]:
    """Every fact and every two-hop question of the domain, in a fixed order."""
    held_out = held_out_cities()
    examples: list[Example] = []
    for state, (capital, cities) in STATES.items():
        examples += _state_facts(state, capital)
        for city in (*cities, capital):
            examples += _city_in_state(city, state)
        for index, city in enumerate(cities):
            examples += _state_two_hops(city, index, state, capital, is_held_out=city in held_out)
    for country in COUNTRIES:
        examples += _country_facts(country)
        for index, city in enumerate(COUNTRIES[country][3]):
            examples += _country_two_hops(city, index, country, is_held_out=city in held_out)
    return tuple(examples)


def _ask(
    task: str, form: str, subject: str, other: str, answer: str, wrong: str, *, is_held_out: bool = False, **tags: str
) -> Example:
    return Example(
        domain=DOMAIN,
        task=task,
        prompt=form.format(subject),
        answer=f" {answer}",
        contrast=f" {wrong}",
        partner=form.format(other),
        tags=tuple(tags.items()),
        is_held_out=is_held_out,
    )


def _state_facts(state: str, capital: str) -> list[Example]:
    other = next_in_cycle(list(STATES), state, 5)
    forms = ("the capital of {} is", "the capital of the state of {} is")
    return [_ask("capital-of-state", form, state, other, capital, STATES[other][0], state=state) for form in forms]


def _city_in_state(city: str, state: str) -> list[Example]:
    other = next_in_cycle(list(STATES), state, 7)
    neighbour = STATES[other][1][0]
    forms = ("the state containing {} is", "the city of {} is in")
    return [_ask("state-of-city", form, city, neighbour, state, other, city=city, state=state) for form in forms]


def _state_two_hops(city: str, index: int, state: str, capital: str, *, is_held_out: bool) -> list[Example]:
    other = next_in_cycle(list(STATES), state, 3)
    wrong, neighbours = STATES[other]
    forms = ("the capital of the state containing {} is", "the state containing {} has the capital")
    return [
        _ask(
            TWO_HOP_STATE,
            form,
            city,
            neighbours[index],
            capital,
            wrong,
            is_held_out=is_held_out,
            city=city,
            state=state,
        )
        for form in forms
    ]


def _country_facts(country: str) -> list[Example]:
    capital, language, continent, cities = COUNTRIES[country]
    other = next_in_cycle(list(COUNTRIES), country, 3)
    other_language = _country_unlike(country, 1)
    other_continent = _country_unlike(country, 2)
    facts = [
        _ask("capital-of-country", form, country, other, capital, COUNTRIES[other][0], country=country)
        for form in ("the capital of {} is", "the capital of the country of {} is")
    ]
    facts += [
        _ask("language", form, country, other_language, language, COUNTRIES[other_language][1], country=country)
        for form in ("the language of {} is", "people in {} speak")
    ]
    facts += [
        _ask("continent", form, country, other_continent, continent, COUNTRIES[other_continent][2], country=country)
        for form in ("the country of {} is in", "the continent containing {} is")
    ]
    for city in (*cities, capital):
        neighbour = COUNTRIES[other][3][0]
        facts += [
            _ask("country-of-city", form, city, neighbour, country, other, city=city, country=country)
            for form in ("the country containing {} is", "the city of {} is in")
        ]
    return facts


def _country_two_hops(city: str, index: int, country: str, *, is_held_out: bool) -> list[Example]:
    capital, language, _, _ = COUNTRIES[country]
    other = next_in_cycle(list(COUNTRIES), country, 5)
    speakers = _country_unlike(country, 1)
    tags = {"city": city, "country": country}
    return [
        _ask(
            TWO_HOP_COUNTRY, form, city, COUNTRIES[other][3][index], capital, COUNTRIES[other][0],
            is_held_out=is_held_out, **tags,
        )
        for form in ("the capital of the country containing {} is", "the country containing {} has the capital")
    ] + [
        _ask(
            TWO_HOP_LANGUAGE, "the language of the country containing {} is", city, COUNTRIES[speakers][3][index],
            language, COUNTRIES[speakers][1], is_held_out=is_held_out, **tags,
        )
    ]  # fmt: skip


def _country_unlike(country: str, field: int) -> str:
    """The next country whose language (field 1) or continent (field 2) differs from this one's."""
    other = next_in_cycle(list(COUNTRIES), country)
    while COUNTRIES[other][field] == COUNTRIES[country][field]:
        other = next_in_cycle(list(COUNTRIES), other)
    return other

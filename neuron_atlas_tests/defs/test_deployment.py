"""The files one deploys with: every name in them exists, and the two instance files say the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuron_atlas import demo
from neuron_atlas.defs import instance
from neuron_atlas.settings import Settings, load_settings

ROOT = demo.MODEL_DIR.parents[2]


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


def variables() -> set[str]:
    """Every environment variable the settings read."""
    fields = Settings.model_fields
    return {
        n.upper() if field.validation_alias is not None else f"NEURON_ATLAS_{n.upper()}" for n, field in fields.items()
    }


def test_the_two_instances_differ_only_in_where_things_are_kept():
    several = read("dagster-postgres.yaml")
    storage = several.pop("storage")["postgres"]["postgres_db"]
    folders = [several.pop(name)["config"]["base_dir"] for name in ("local_artifact_storage", "compute_logs")]
    assert folders == [{"env": "DAGSTER_STATE_DIR"}] * 2
    assert several == read("dagster.yaml")
    assert storage["scheme"] == "postgresql+psycopg2"
    assert storage["password"] == {"env": "PG_PASSWORD"}


def test_a_wheel_carries_the_instance_file_where_it_is_looked_for():
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"] == {"dagster.yaml": "neuron_atlas/defs/dagster.yaml"}
    assert 'files("neuron_atlas.defs").joinpath("dagster.yaml")' in Path(instance.__file__).read_text()


def test_the_workspace_names_the_definitions():
    (location,) = read("workspace.yaml")["load_from"]
    assert location["python_module"]["module_name"] == "neuron_atlas.definitions"


def test_compose_runs_database_code_webserver_and_daemon():
    services = read("docker-compose.yaml")["services"]
    assert set(services) == {"postgres", "code", "webserver", "daemon"}
    assert services["postgres"]["image"].startswith("pgvector/pgvector:0.8.5")
    assert (
        services["webserver"]["depends_on"]
        == services["daemon"]["depends_on"]
        == {"code": {"condition": "service_healthy"}}
    )
    for name in ("code", "webserver", "daemon"):
        assert services[name]["environment"]["PG_HOST"] == "postgres"
        assert services[name]["build"] == "."


def test_compose_listens_on_this_machine_alone_and_holds_no_password():
    text = (ROOT / "docker-compose.yaml").read_text()
    services = read("docker-compose.yaml")["services"]
    assert [p for s in services.values() for p in s.get("ports", ())] == ["127.0.0.1:3000:3000"]
    assert set(re.findall(r"PASSWORD: (\S+)", text)) == {"${PG_PASSWORD:?set"}


def test_compose_uses_names_that_exist():
    services = read("docker-compose.yaml")["services"]
    given = set(services["code"]["environment"]) - {"DAGSTER_HOME", "DAGSTER_STATE_DIR", "HF_HOME"}
    assert given <= variables()


def test_the_image_copies_what_it_needs():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert any(line.startswith("USER ") and "root" not in line for line in lines)


def test_every_name_in_the_example_environment_exists():
    names = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert names - {"DAGSTER_HOME"} <= variables()
    assert variables() <= names


def test_the_example_environment_is_readable_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    active = re.sub(r"^# ([A-Z_]+=)", r"\1", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(active)
    settings = load_settings()
    assert (settings.k, settings.tau, settings.pg_host) == (5, 0.005, "localhost")

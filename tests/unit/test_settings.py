"""Settings: where they come from, which win, and how wrong ones are refused."""

import json
from pathlib import Path

import pytest

from pointsman.services.runtime.settings import Settings, SettingsError, describe, load, require_secret, to_env

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


def test_without_anything_the_defaults_hold() -> None:
    settings = load({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.durability) == ("127.0.0.1", 8080, "strict")
    assert settings.base_url == "http://127.0.0.1:8080"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "pointsman.toml"
    config.write_text('port = 9000\nlog_level = "debug"\negress_allow = ["10.0.0.0/8"]\n')
    settings = load({"POINTSMAN_PORT": "9001"}, config)
    assert (settings.port, settings.log_level, settings.egress_allow) == (9001, "debug", ("10.0.0.0/8",))


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "pointsman.toml"
    config.write_text("max_backlog = 5\n")
    assert load({"POINTSMAN_CONFIG": str(config)}).max_backlog == 5


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"POINTSMAN_PROT": "1"}, "POINTSMAN_PROT: unknown setting"),
        ({"POINTSMAN_PORT": "http"}, "port: Expected int"),
        ({"POINTSMAN_PORT": "65536"}, "port: Expected int <= 65535"),
        ({"POINTSMAN_DURABILITY": "never"}, "durability: Invalid enum value 'never'"),
        ({"POINTSMAN_REPLICAS": "2"}, "replicas: Invalid enum value 2"),
        ({"POINTSMAN_JWT_SECRET": "short"}, "jwt_secret: must be at least 32 bytes"),
        ({"POINTSMAN_JWT_SECRET": "changeme" * 8}, "jwt_secret: too simple"),
        ({"POINTSMAN_JWT_SECRET": "a" * 64}, "jwt_secret: too simple"),
        ({"POINTSMAN_NATS_USER": "x"}, "nats_user: needs nats_password"),
        ({"POINTSMAN_NATS_URL": "http://x"}, "nats_url: must be"),
        ({"POINTSMAN_NATS_URL": "nats://x:y"}, "nats_url: Port could not be cast"),
        ({"POINTSMAN_POSTGRES_DSN": "mysql://x"}, "postgres_dsn: must start"),
        ({"POINTSMAN_EGRESS_ALLOW": "10.0.0.0/8,10.0.0.1/8"}, "egress_allow: 10.0.0.1/8 has host bits set"),
        ({"POINTSMAN_EGRESS_SCHEMES": "https,ftp"}, r"egress_schemes\[1\]: Invalid enum value 'ftp'"),
        ({"POINTSMAN_EGRESS_SCHEMES": ""}, "egress_schemes: Expected array of length >= 1"),
        ({"POINTSMAN_EGRESS_PORTS": "80,http"}, "egress_ports: http is neither a port nor a range"),
        ({"POINTSMAN_EGRESS_PORTS": "80-"}, "egress_ports: 80- is neither a port nor a range"),
        ({"POINTSMAN_EGRESS_PORTS": "9-8"}, "egress_ports: 9-8 is not within 1-65535"),
        ({"POINTSMAN_EGRESS_PORTS": "0-80"}, "egress_ports: 0-80 is not within"),
        ({"POINTSMAN_EGRESS_PORTS": "1-65536"}, "egress_ports: 1-65536 is not within"),
        ({"POINTSMAN_FINAL_STATUSES": "404,399"}, r"final_statuses\[1\]: Expected int >= 400"),
        ({"POINTSMAN_FINAL_STATUSES": "404,503"}, "final_statuses: 503 has a meaning of its own"),
        ({"POINTSMAN_HOST": "0.0.0.0"}, "public_url: must be set"),
        ({"POINTSMAN_JWT_SECRET_FILE": "/does/not/exist"}, "jwt_secret_file: "),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(env)


def test_a_file_with_an_unknown_key_or_broken_text_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "pointsman.toml"
    for content, message in (("prot = 1\n", "prot: unknown setting"), ("port = \n", "pointsman.toml: ")):
        config.write_text(content)
        with pytest.raises(SettingsError, match=message):
            load({}, config)


def test_a_secret_may_come_from_a_file_but_not_from_two_places(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    env = {"POINTSMAN_JWT_SECRET_FILE": str(file)}
    assert require_secret(load(env)) == SECRET
    with pytest.raises(SettingsError, match="jwt_secret: set it or jwt_secret_file"):
        load(env | {"POINTSMAN_JWT_SECRET": SECRET})


def test_no_secret_is_said_only_where_one_is_needed() -> None:
    with pytest.raises(SettingsError, match="POINTSMAN_JWT_SECRET"):
        require_secret(load({}))


def test_secrets_are_never_shown() -> None:
    settings = Settings(
        jwt_secret=SECRET, nats_user="u", nats_password="hunter22", postgres_dsn="postgresql://u:hunter22@h/d"
    )
    shown = repr(settings) + str(describe(settings)) + f"{settings}"
    assert SECRET not in shown
    assert "hunter22" not in shown


def test_a_child_process_gets_the_same_settings() -> None:
    settings = Settings(
        jwt_secret=SECRET,
        port=1234,
        egress_allow=("127.0.0.0/8", "::1/128"),
        durability="relaxed",
        replicas=3,
        egress_schemes=("https",),
        egress_ports=("443", "8000-8099"),
        final_statuses=(404, 501),
    )
    assert load(to_env(settings)) == settings
    assert load(to_env(Settings(final_statuses=()))).final_statuses == ()


def test_every_setting_is_documented() -> None:
    rows = describe()
    assert all(row.doc.endswith(".") and row.env == f"POINTSMAN_{row.name.upper()}" for row in rows)
    assert len({row.name for row in rows}) == len(rows) == len(Settings.__struct_fields__)


def test_a_running_system_is_found_by_its_folder(tmp_path: Path) -> None:
    running = {"nats_url": "nats://127.0.0.1:5", "nats_user": "u", "nats_password": "p", "port": 77}
    (tmp_path / "run.json").write_text(json.dumps({"settings": running}))
    env = {"POINTSMAN_DATA_DIR": str(tmp_path)}
    assert (load(env).nats_url, load(env).port) == ("nats://127.0.0.1:5", 77)
    assert load(env, adopt_running=False).port == 8080


def test_the_secret_of_a_stopped_system_is_found(tmp_path: Path) -> None:
    (tmp_path / "jwt-secret").write_text(SECRET)
    assert require_secret(load({"POINTSMAN_DATA_DIR": str(tmp_path)})) == SECRET


def test_another_broker_replaces_all_the_folder_says_of_its_broker(tmp_path: Path) -> None:
    running = {"nats_url": "nats://127.0.0.1:5", "nats_user": "u", "nats_password": "p", "port": 77}
    (tmp_path / "run.json").write_text(json.dumps({"settings": running}))
    settings = load({"POINTSMAN_DATA_DIR": str(tmp_path), "POINTSMAN_NATS_URL": "nats://other"})
    assert (settings.nats_url, settings.nats_user, settings.port) == ("nats://other", "", 77)

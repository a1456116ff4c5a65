"""The word of an identity provider holds only when every part of it does."""

import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from identity_provider import IdentityProvider

from dae_pacs.config.web import OidcSettings
from dae_pacs.errors import InputError, ServiceError
from dae_pacs.web.provider import Provider
from dae_pacs.web.role import Role

BACK = "http://127.0.0.1:1/login/callback"


@pytest.fixture
def identity():
    provider = IdentityProvider("console", "a secret", BACK)
    provider.claims = {"preferred_username": "jane", "groups": ["physics", "everybody"]}
    yield provider
    provider.close()


@pytest.fixture
def make_provider(identity, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")

    def make(**changes):
        settings = {
            "issuer": identity.issuer,
            "client_id": "console",
            "client_secret_file": secret,
            "roles": {"physics": "operator", "heads": "administrator"},
        }
        return Provider(OidcSettings(**settings | changes), redirect_uri=BACK)

    return make


def go(provider, target="/studies"):
    """Take the way of a browser: to the provider, and back with what it says."""
    url, state = provider.begin(target)
    back = parse_qs(urlsplit(httpx.get(url).headers["location"]).query)
    assert back["state"] == [state]
    return {"state": state, "code": back["code"][0]}


def test_person_gets_the_highest_role_that_is_mapped(make_provider, identity):
    provider = make_provider()
    known = provider.finish(**go(provider))
    assert (known.name, known.role, known.target) == ("oidc:jane", Role.OPERATOR, "/studies")
    identity.claims["groups"] = ["physics", "heads"]
    assert provider.finish(**go(provider)).role is Role.ADMINISTRATOR


def test_claim_may_lie_within_an_object_or_be_a_text(make_provider, identity):
    identity.claims = {"realm_access": {"roles": "physics"}, "preferred_username": "<b>jane</b>\n"}
    provider = make_provider(role_claim="realm_access.roles")
    known = provider.finish(**go(provider))
    assert (known.name, known.role) == ("oidc:<b>jane</b>", Role.OPERATOR)


@pytest.mark.parametrize("groups", [["everybody"], [], "none", None, 7, [["physics"]], {"physics": 1}])
def test_person_without_a_mapped_role_does_not_get_in(make_provider, identity, groups):
    identity.claims["groups"] = groups
    provider = make_provider()
    with pytest.raises(InputError, match="no role"):
        provider.finish(**go(provider))


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another client"},
        {"aud": ["console", "another"]},
        {"iss": "http://localhost:1"},
        {"nonce": "another"},
        {"exp": int(time.time()) - 600},
        {"nbf": int(time.time()) + 86_400},  # a day: other tests come before
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_word_that_is_for_another_or_old_does_not_hold(make_provider, identity, lie):
    identity.claims.update(lie)
    provider = make_provider()
    with pytest.raises(InputError, match="does not hold"):
        provider.finish(**go(provider))


def test_unsigned_word_does_not_hold(make_provider, identity):
    identity.is_unsigned = True
    provider = make_provider()
    with pytest.raises(InputError, match="does not hold"):
        provider.finish(**go(provider))


def test_word_by_a_strange_key_does_not_hold_and_by_a_new_one_does(make_provider, identity):
    provider = make_provider()
    provider.finish(**go(provider))
    identity.use_another_key(told=False)
    with pytest.raises(InputError, match="does not hold"):
        provider.finish(**go(provider))
    identity.use_another_key(told=True)
    assert provider.finish(**go(provider)).role is Role.OPERATOR


def test_state_and_code_serve_once(make_provider):
    provider = make_provider()
    back = go(provider)
    provider.finish(**back)
    with pytest.raises(InputError, match="Begin again"):
        provider.finish(**back)
    with pytest.raises(InputError, match="did not take"):
        provider.finish(**(go(provider) | {"code": back["code"]}))
    with pytest.raises(InputError, match="Begin again"):
        provider.finish(state="made up", code="made up")


def test_strangers_beginnings_push_out_only_their_own(make_provider):
    provider = make_provider()
    url, state = provider.begin("/studies", address="10.0.0.1")
    strangers = [provider.begin("/", address="10.0.0.2") for _ in range(1100)]
    back = parse_qs(urlsplit(httpx.get(url).headers["location"]).query)
    assert provider.finish(state=state, code=back["code"][0]).role is Role.OPERATOR
    with pytest.raises(InputError, match="Begin again"):
        provider.finish(state=strangers[0][1], code="any")
    with pytest.raises(InputError, match="did not take"):
        provider.finish(state=strangers[-1][1], code="any")


def test_silent_provider_holds_one_thread_and_its_silence_is_remembered(make_provider):
    with socket.create_server(("localhost", 0)) as silent:
        provider = make_provider(issuer=f"http://localhost:{silent.getsockname()[1]}")
        failed = []

        def begin():
            with pytest.raises(ServiceError) as told:
                provider.begin("/")
            failed.append(str(told.value))

        first = threading.Thread(target=begin)
        first.start()
        asked, _ = silent.accept()
        begin()
        assert "being asked already" in failed[0]
        asked.close()
        first.join(20)
        assert "can't be asked" in failed[1]
        silent.settimeout(0.2)
        begin()
        assert failed[2] == failed[1]
        with pytest.raises(TimeoutError):
            silent.accept()


def test_wrong_secret_of_ours_is_told(make_provider, tmp_path):
    (tmp_path / "other").write_text("wrong")
    provider = make_provider(client_secret_file=tmp_path / "other")
    with pytest.raises(InputError, match="did not take"):
        provider.finish(**go(provider))


def test_provider_that_is_away_is_told(make_provider, identity):
    provider = make_provider(issuer="http://localhost:9")
    with pytest.raises(ServiceError, match="can't be asked"):
        provider.begin("/")
    provider = make_provider(issuer=f"{identity.issuer}/elsewhere")
    with pytest.raises(ServiceError, match="can't be asked"):
        provider.begin("/")


@pytest.mark.parametrize("key", ["authorities", "client_secret_file"])
def test_stranger_hears_nothing_of_our_files_and_the_log_hears_it_once(make_provider, tmp_path, caplog, key):
    missing = tmp_path / "not here"
    provider = make_provider(**{key: missing})
    for _ in range(2):
        with pytest.raises(ServiceError, match="not set up rightly") as caught:
            provider.finish(**go(provider))
        assert "not here" not in str(caught.value)
        assert key not in str(caught.value)
    told = [record.why for record in caplog.records if "nobody can log in" in record.message]
    assert len(told) == 1
    assert f"oidc.{key} {missing}" in told[0]

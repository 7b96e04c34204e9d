"""What a client may say of itself, and of how we came to send for it."""

from __future__ import annotations

import pytest

from offline_capi.config import SecretRef, load_config
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS

APP = 'platform: {app: {id: "4000000001", secret: {env: APP_SECRET}}, partner_agent: datapartner}'


@pytest.mark.parametrize("agent", ["ab", "a_1_b", "x" * 22, "platform_1_0", "12ab"])
def test_a_partner_agent_may_have_up_to_22_characters_and_needs_two_letters(write_folder, agent: str) -> None:
    assert load_config(write_folder(CLIENTS.replace("datapartner", agent))).platform.partner_agent == agent


@pytest.mark.parametrize("agent", ["a", "a_1_0", "x" * 23, '""', "123456"])
@pytest.mark.parametrize("whose", ["platform", "client"])
def test_any_other_is_refused_for_platform_and_client(write_folder, agent: str, whose: str) -> None:
    changed = {
        "platform": CLIENTS.replace("datapartner", agent),
        "client": CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"{{env: ACME_BANK_TOKEN}}, partner_agent: {agent}"),
    }

    with pytest.raises(ConfigError, match="fewer than 23 characters and at least two letters"):
        load_config(write_folder(changed[whose]))


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("authorized_by: fbe", SecretRef(env="APP_SECRET")),
        ("authorized_by: shared", SecretRef(env="APP_SECRET")),
        ("authorized_by: shared, app_secret: {env: OTHER}", SecretRef(env="OTHER")),
        ("authorized_by: token", None),
        ("active: true", None),
    ],
)
def test_tokens_of_our_own_app_are_proven_with_its_secret(write_folder, said: str, secret: SecretRef | None) -> None:
    """Of a token that the client's own app made, nobody here knows the secret (meta-capi.md 8.1)."""
    text = CLIENTS.replace("platform: {partner_agent: datapartner}", APP)
    folder = write_folder(text.replace("{env: ACME_BANK_TOKEN}", f"{{env: ACME_BANK_TOKEN}}, {said}"))

    clients = load_config(folder).clients

    assert clients["acme_bank"].app_secret == secret
    assert clients["corner_shop"].app_secret is None


@pytest.mark.parametrize(("one", "other", "good"), [("corner_shop", "acme_bank", True), ("corner_shop", "x", False)])
def test_two_clients_share_a_pixel_only_when_both_say_so(write_folder, one: str, other: str, good: bool) -> None:
    text = CLIENTS.replace("1200000000000002", "1200000000000001")
    text = text.replace("{env: ACME_BANK_TOKEN}", f"{{env: ACME_BANK_TOKEN}}, shares_pixel_with: {one}")
    text = text.replace("{env: CORNER_SHOP_TOKEN}", f"{{env: CORNER_SHOP_TOKEN}}, shares_pixel_with: {other}")

    if good:
        assert len(load_config(write_folder(text)).clients) == 2
    else:
        with pytest.raises(ConfigError, match="unless both say shares_pixel_with"):
            load_config(write_folder(text))


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("test: {code: 'two words'}", "is not a test code"),
        ("authorized_by: magic", "one of: owned, fbe, token, shared, login"),
        ("contacts: []", "is empty"),
        ("token: {store: a, env: B}", "stands twice"),
        ("test_event_code: TEST1", "never to a configuration"),
    ],
)
def test_each_mistake_is_said_in_words(write_folder, said: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_config(write_folder(CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"{{env: ACME_BANK_TOKEN}}, {said}")))


def test_an_app_needs_ids_that_meta_could_have_given(write_folder) -> None:
    with pytest.raises(ConfigError, match="is not one of Meta's ids"):
        load_config(
            write_folder(CLIENTS.replace("platform: {partner_agent: datapartner}", APP.replace("4000000001", "x")))
        )

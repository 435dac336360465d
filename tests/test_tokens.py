"""Access tokens: what is taken, and everything else that somebody may show instead of one."""

import base64
import json
import time
from contextlib import suppress
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiochat.auth.identity import ANY_ROOM, LEEWAY_SECONDS
from aiochat.auth.keys import make_keys
from aiochat.auth.tokens import MAX_CHARACTERS, Tokens
from aiochat.errors import ConfigError, Reply, StartError
from tests.minted import SECRET, minted, private_key, private_pem, public_pem, security, tokens

ASYMMETRIC = ("RS256", "ES256", "EdDSA")
NOW = int(time.time())
CHECKED = tokens()


async def refusal(checked: Tokens, token: str) -> str:
    """Why the token is not taken."""
    with pytest.raises(Reply) as refused:
        await checked.identity_of(token)
    assert (refused.value.code, refused.value.field) == ("unauthorized", "token")
    return refused.value.reason


def encoded(part: Any) -> str:
    """A part of a token, of any JSON or of bytes."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# What is taken.


async def test_a_token_says_who_one_is_and_what_one_may() -> None:
    """Rooms and patterns are in the form that the server makes of them."""
    claims: dict[str, Any] = {
        "name": "Alice",
        "rooms": ["Kitchen", "kitchen"],
        "join": ["Team-*"],
        "publish": ["team-1"],
    }
    identity = await CHECKED.identity_of(minted(**claims, exp=NOW + 3600))
    assert (identity.user, identity.name, identity.expires) == ("alice", "Alice", NOW + 3600)
    assert (identity.rooms, identity.join, identity.publish) == (("kitchen",), ("team-*",), ("team-1",))
    assert identity.may_join("kitchen")
    assert not identity.may_join("lobby")


async def test_a_token_without_rooms_is_good_for_all() -> None:
    """One with an empty list is good for none."""
    everywhere = await CHECKED.identity_of(minted())
    nowhere = await CHECKED.identity_of(minted(join=[], publish=[]))
    assert (everywhere.join, everywhere.publish, everywhere.rooms) == (ANY_ROOM, ANY_ROOM, ())
    assert (nowhere.may_join("lobby"), nowhere.may_publish("lobby")) == (False, False)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Mary O'Brien"}, "Mary OBrien"),
        ({"name": "*!* Zoë: \u202e\n@home"}, "Zoë home"),
        ({"name": "x" * 255}, "x" * 32),
        ({"name": "guest-1"}, None),
        ({"name": "\u202e"}, None),
        ({"sub": "bob"}, "bob"),
        ({"sub": "bob@mail.example"}, None),
        ({"sub": "a" * 33}, None),
    ],
)
async def test_names_from_elsewhere_are_made_to_fit(claims: dict[str, Any], name: str | None) -> None:
    """A provider's full names hold what a name here may not; without one, the user's, if that can be a name."""
    assert (await CHECKED.identity_of(minted(**claims))).name == name


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
async def test_a_public_key_checks_what_the_private_one_signed(algorithm: str) -> None:
    """RSA, elliptic curves and Ed25519; the private key does as well, as in development there is but one file."""
    token = minted(key=private_key(algorithm), algorithm=algorithm)
    for pem in (public_pem(algorithm), private_pem(algorithm)):
        checked = tokens(token_algorithms=[algorithm], token_key=pem)
        assert (await checked.identity_of(token)).user == "alice"
        assert "signature" in await refusal(checked, minted(key=private_key(f"{algorithm} 2"), algorithm=algorithm))


async def test_audience_and_issuer_are_those_of_the_settings() -> None:
    """Of several audiences one will do; and a token for somebody is not for a server that is nobody."""
    checked = tokens(token_audience="chat", token_issuer="https://login.example")
    good: dict[str, Any] = {"aud": ["shop", "chat"], "iss": "https://login.example"}
    assert (await checked.identity_of(minted(**good))).user == "alice"
    for claim, value in (("aud", None), ("aud", "shop"), ("iss", None), ("iss", "https://login.example.evil")):
        assert claim in await refusal(checked, minted(**{**good, claim: value}))
    assert "aud" in await refusal(CHECKED, minted(aud="shop"))


async def test_clocks_may_differ_by_the_leeway() -> None:
    """A token counts so long after its end, and before its beginning."""
    for claim, sign in (("exp", -1), ("nbf", 1), ("iat", 1)):
        within, beyond = ({claim: int(time.time()) + sign * (LEEWAY_SECONDS + seconds)} for seconds in (-4, 4))
        assert (await CHECKED.identity_of(minted(**within))).user == "alice"  # type: ignore[arg-type]
        assert await refusal(CHECKED, minted(**beyond))  # type: ignore[arg-type]


# What is not.


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"sub": None}, "lacks sub"),
        ({"exp": None}, "lacks exp"),
        ({"exp": NOW - 60}, "expired"),
        ({"nbf": NOW + 3600}, "not valid yet"),
        ({"exp": (NOW + 3600) * 1000}, "exp"),
        ({"exp": float("inf")}, "not a token"),
        ({"exp": float("nan")}, "not a token"),
        ({"exp": "soon"}, "not a token"),
        ({"exp": True}, "expired"),
        ({"sub": 7}, "not a token"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": " alice"}, "cannot be shown"),
        ({"sub": "a\u202eb"}, "cannot be shown"),
        ({"sub": "a\nb"}, "cannot be shown"),
        ({"name": ["Alice"]}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"rooms": "kitchen"}, "rooms"),
        ({"rooms": ["kit chen"]}, "rooms"),
        ({"rooms": ["k"] * 65}, "rooms"),
        ({"join": {"team": True}}, "join"),
        ({"join": [7]}, "join"),
        ({"join": ["x" * 129]}, "join"),
        ({"join": ["team-[ab]"]}, "rooms"),
        ({"publish": ["?"]}, "rooms"),
        ({"publish": ["*"] * 65}, "publish"),
    ],
)
async def test_claims_that_cannot_be_are_named(claims: dict[str, Any], said: str) -> None:
    """Whoever signed them."""
    assert said in await refusal(CHECKED, minted(**claims))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
async def test_a_public_key_is_no_shared_secret(algorithm: str) -> None:
    """The token says HS256 and is signed with what everybody knows: the algorithm is the settings' business."""
    pem = public_pem(algorithm)
    head, body = encoded({"alg": "HS256", "typ": "JWT"}), encoded({"sub": "root", "exp": NOW + 3600})
    known = jwt.get_algorithm_by_name("HS256")
    forged = f"{head}.{body}.{encoded(known.sign(f'{head}.{body}'.encode(), pem.encode()))}"
    assert "algorithm" in await refusal(tokens(token_algorithms=[algorithm], token_key=pem), forged)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS384", ["HS256"], 7, "HS256 "])
async def test_a_token_does_not_choose_its_algorithm(algorithm: object) -> None:
    """Not even none at all."""
    _, body, signature = minted().split(".")
    for last in (signature, ""):
        assert await refusal(CHECKED, f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{body}.{last}")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "' UNION SELECT 'x"},
        {"kid": 7},
        {"jku": "https://evil.example/jwks"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5u": "https://evil.example/x"},
        {"crit": ["exp"]},
        {"b64": False},
    ],
)
async def test_a_header_brings_no_key(header: dict[str, Any]) -> None:
    """Whatever it says of keys: that of the settings counts, with which it is not signed."""
    forged = jwt.encode({"sub": "root", "exp": NOW + 3600}, "another secret of more than thirty-two bytes", "HS256")
    _, body, signature = forged.split(".")
    assert await refusal(CHECKED, f"{encoded({'alg': 'HS256', 'typ': 'JWT', **header})}.{body}.{signature}")


async def test_a_token_is_looked_at_up_to_its_bound() -> None:
    """Beyond it nothing is decoded."""
    assert "longer" in await refusal(CHECKED, minted(more="x" * MAX_CHARACTERS))
    assert await refusal(CHECKED, f"{encoded(b'[' * 5000)}..")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.one_of(st.text(), st.text("abc.-_=", max_size=200), st.binary().map(encoded), st.characters()))
async def test_whatever_is_shown_is_refused_in_a_sentence(token: str) -> None:
    """No exception but the refusal, and nothing of the token in it."""
    assert await refusal(CHECKED, token) in {
        "this is not a token that can be checked",
        "the token is not signed with an algorithm that this server takes (alg)",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
)
CLAIMS = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "name", "rooms", "join", "publish"]), JSON)


@given(claims=CLAIMS, header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), JSON))
async def test_even_a_well_signed_one_is_taken_or_refused(claims: dict[str, Any], header: dict[str, Any]) -> None:
    """With any claims, and any header: an identity within its bounds, or the refusal."""
    signer = jwt.get_algorithm_by_name("HS256")
    signed = f"{encoded({'alg': 'HS256', **header})}.{encoded({'sub': 'alice', 'exp': NOW + 3600, **claims})}"
    token = f"{signed}.{encoded(signer.sign(signed.encode(), SECRET.encode()))}"
    identity = None
    with suppress(Reply):
        identity = await CHECKED.identity_of(token)
    if identity is not None:
        assert identity.user
        assert identity.user.isprintable()
        assert len(identity.user) <= 255
        assert all(len(rooms) <= 64 for rooms in (identity.rooms, identity.join, identity.publish))


@given(place=st.integers(0, 500), letter=st.sampled_from("ABCxyz019-_."))
async def test_a_letter_changed_makes_it_another_token(place: int, letter: str) -> None:
    """Whichever it is, but for the last, which holds bits that are none."""
    token = minted()
    at = place % (len(token) - 1)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        assert await refusal(CHECKED, changed)


# The settings.


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "required"}, "a key"),
        ({"mode": "optional"}, "a key"),
        ({"mode": "anonymous", "token_key": SECRET}, "optional or required"),
        ({"token_key": SECRET, "token_key_file": "key"}, "both"),
        ({"token_key": SECRET, "token_jwks_url": "https://login.example/keys"}, "both"),
        ({"token_jwks_url": "https://login.example/keys"}, "token_jwks_url"),
        ({"token_jwks_url": "login.example"}, "a URL such as"),
        ({"token_key": SECRET, "token_algorithms": []}, "token_algorithms"),
        ({"token_key": SECRET, "token_algorithms": ["none"]}, "token_algorithms"),
        ({"token_key": SECRET, "token_algorithms": ["HS256", "RS256"]}, "one kind"),
        ({"mode": "open"}, "anonymous"),
    ],
)
def test_settings_that_contradict_each_other_are_named(given: dict[str, Any], said: str) -> None:
    """In one line, which does not hold the secret."""
    with pytest.raises(ConfigError) as refused:
        security(**given)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token_key": "short"}, "HS256"),
        ({"token_key": SECRET[:40], "token_algorithms": ["HS256", "HS512"]}, "HS512"),
        ({"token_key": public_pem("RS256")}, "HS256"),
        ({"token_key": SECRET, "token_algorithms": ["RS256"]}, "RS256"),
        ({"token_key": public_pem("RS256"), "token_algorithms": ["RS256", "ES256"]}, "ES256"),
        ({"token_key_file": "no such file"}, "no such file cannot be read"),
    ],
)
def test_a_key_that_is_none_ends_the_start(given: dict[str, Any], said: str) -> None:
    """In one line that names the algorithm or the file."""
    with pytest.raises(StartError) as refused:
        make_keys(security(**given))
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1

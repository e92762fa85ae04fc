"""hvac, unmodified, against a broker that nobody has initialised yet.

The Rust side (`tests/src/hvac.rs`) starts a fragment service and a broker, approves the enrolment when it comes, and runs this file
with the address, the CA and a file of signing keys in the environment. Tests run in order: each builds on the one before.
"""

import os
import time

import hvac
import jwt
import pytest
from hvac import exceptions

ADDR = os.environ["SYMBOLON_ADDR"]
CA = os.environ["SYMBOLON_CACERT"]
STATE = {}

READER = """
path "secret/data/app/*" { capabilities = ["read"] }
path "secret/metadata/app/*" { capabilities = ["read", "list"] }
"""


def client(token=None):
    return hvac.Client(url=ADDR, verify=CA, token=token)


def root():
    return client(STATE["root"])


def signing_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, public.decode()


def test_a_fresh_broker_is_neither_initialised_nor_open():
    c = client()
    assert c.sys.is_initialized() is False
    assert c.sys.is_sealed() is True
    health = c.sys.read_health_status(method="GET")
    assert health.status_code == 501


def test_init_refuses_impossible_share_numbers():
    with pytest.raises(exceptions.InvalidRequest):
        client().sys.initialize(secret_shares=2, secret_threshold=3)
    assert client().sys.is_initialized() is False


def test_init_gives_shares_and_a_root_token():
    answer = client().sys.initialize(secret_shares=3, secret_threshold=2)
    assert len(answer["keys"]) == len(answer["keys_base64"]) == 3
    STATE["shares"] = answer["keys"]
    STATE["shares_base64"] = answer["keys_base64"]
    STATE["root"] = answer["root_token"]
    assert client().sys.is_initialized() is True
    assert client().sys.is_sealed() is True


def test_a_second_init_is_refused():
    with pytest.raises(exceptions.InvalidRequest):
        client().sys.initialize(secret_shares=3, secret_threshold=2)


def test_sealed_means_503():
    with pytest.raises(exceptions.VaultDown):
        root().secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)


def test_unseal_with_two_of_three():
    c = client()
    status = c.sys.submit_unseal_key(STATE["shares"][0])
    assert status["sealed"] is True and status["progress"] == 1 and status["t"] == 2 and status["n"] == 3
    wrong = STATE["shares"][2][:-2] + ("00" if STATE["shares"][2][-2:] != "00" else "01")
    with pytest.raises(exceptions.InvalidRequest):
        c.sys.submit_unseal_key(wrong)
    assert c.sys.read_seal_status()["progress"] == 1
    status = c.sys.submit_unseal_key(STATE["shares_base64"][1])
    assert status["sealed"] is False
    assert c.sys.is_sealed() is False
    assert root().is_authenticated()


def test_mount_and_kv_round_trip():
    c = root()
    c.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    assert "secret/" in c.sys.list_mounted_secrets_engines()["data"]
    kv = c.secrets.kv.v2
    first = kv.create_or_update_secret("app/db", secret={"user": "app", "pass": "hunter2", "n": 12345678901234567890})
    assert first["data"]["version"] == 1
    read = kv.read_secret_version("app/db", raise_on_deleted_version=True)
    assert read["data"]["data"] == {"user": "app", "pass": "hunter2", "n": 12345678901234567890}
    assert read["data"]["metadata"]["version"] == 1
    kv.patch("app/db", secret={"pass": "correct horse"})
    assert kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"]["pass"] == "correct horse"
    with pytest.raises(exceptions.InvalidRequest):
        kv.create_or_update_secret("app/db", secret={"x": 1}, cas=0)
    kv.create_or_update_secret("app/db", secret={"x": "3"}, cas=2)
    assert kv.read_secret_version("app/db", version=1, raise_on_deleted_version=True)["data"]["data"]["pass"] == "hunter2"


def test_list_delete_undelete_destroy():
    kv = root().secrets.kv.v2
    kv.create_or_update_secret("app/nested/deep", secret={"a": "b"})
    assert kv.list_secrets("app")["data"]["keys"] == ["db", "nested/"]
    kv.delete_latest_version_of_secret("app/db")
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_version("app/db", raise_on_deleted_version=True)
    kv.undelete_secret_versions("app/db", versions=[3])
    assert kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"x": "3"}
    kv.destroy_secret_versions("app/db", versions=[1])
    meta = kv.read_secret_metadata("app/db")["data"]
    assert meta["versions"]["1"]["destroyed"] is True and meta["current_version"] == 3
    kv.update_metadata("app/db", max_versions=5, custom_metadata={"owner": "team"})
    assert kv.read_secret_metadata("app/db")["data"]["custom_metadata"] == {"owner": "team"}
    kv.delete_metadata_and_all_versions("app/nested/deep")
    with pytest.raises(exceptions.InvalidPath):
        kv.list_secrets("app/nested")
    assert kv.list_secrets("app")["data"]["keys"] == ["db"]


def test_kv_version_1_and_its_upgrade():
    c = root()
    c.sys.enable_secrets_engine("kv", path="old")
    assert c.sys.list_mounted_secrets_engines()["data"]["old/"]["options"] == {"version": "1"}
    kv = c.secrets.kv.v1
    kv.create_or_update_secret("app/db", secret={"pass": "hunter2", "ttl": "30m"}, mount_point="old")
    kv.create_or_update_secret("app/db", secret={"pass": "correct horse", "ttl": "30m"}, mount_point="old")
    read = kv.read_secret("app/db", mount_point="old")
    assert read["data"] == {"pass": "correct horse", "ttl": "30m"} and read["lease_duration"] == 1800
    assert kv.list_secrets("app", mount_point="old")["data"]["keys"] == ["db"]
    kv.create_or_update_secret("gone", secret={"a": "b"}, mount_point="old")
    kv.delete_secret("gone", mount_point="old")
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret("gone", mount_point="old")
    c.sys.tune_mount_configuration("old", options={"version": "2"})
    read = c.secrets.kv.v2.read_secret_version("app/db", mount_point="old", raise_on_deleted_version=True)
    assert read["data"]["data"]["pass"] == "correct horse" and read["data"]["metadata"]["version"] == 1


def test_policy_round_trip_and_reserved_names():
    c = root()
    c.sys.create_or_update_policy("reader", READER)
    assert "reader" in c.sys.list_policies()["data"]["policies"]
    assert c.sys.read_policy("reader")["data"]["rules"] == READER
    for name in ("root", "ROOT", "Root"):
        with pytest.raises(exceptions.InvalidRequest):
            c.sys.create_or_update_policy(name, READER)
    with pytest.raises(exceptions.InvalidRequest):
        c.sys.create_or_update_policy("broken", 'path "x" { capabilities = ["fly"] }')


def test_child_token_can_do_what_its_policy_says_and_no_more():
    made = root().auth.token.create(policies=["reader"], ttl="1h", display_name="ci", meta={"team": "x"})
    token = made["auth"]["client_token"]
    c = client(token)
    me = c.auth.token.lookup_self()["data"]
    assert me["policies"] == ["default", "reader"] and me["meta"] == {"team": "x"} and 3500 < me["ttl"] <= 3600
    assert c.secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"x": "3"}
    with pytest.raises(exceptions.Forbidden):
        c.secrets.kv.v2.create_or_update_secret("app/db", secret={"y": 1})
    with pytest.raises(exceptions.Forbidden):
        c.secrets.kv.v2.read_secret_version("other/absent", raise_on_deleted_version=True)
    with pytest.raises(exceptions.InvalidPath):
        c.secrets.kv.v2.read_secret_version("app/absent", raise_on_deleted_version=True)
    assert c.sys.get_capabilities(paths=["secret/data/app/db"])["data"]["secret/data/app/db"] == ["read"]
    c.auth.token.renew_self(increment="2h")
    c.auth.token.revoke_self()
    with pytest.raises(exceptions.Forbidden):
        c.auth.token.lookup_self()


def test_revoking_a_parent_revokes_its_children():
    parent = root().auth.token.create(policies=["root"])["auth"]["client_token"]
    child = client(parent).auth.token.create(policies=["reader"])["auth"]["client_token"]
    assert client(child).is_authenticated()
    root().auth.token.revoke(parent)
    assert not client(parent).is_authenticated() and not client(child).is_authenticated()


def test_approle_login():
    c = root()
    c.sys.enable_auth_method("approle")
    c.auth.approle.create_or_update_approle(
        "ci", token_policies=["reader"], token_ttl="30m", secret_id_num_uses=1, token_type="service"
    )
    role_id = c.auth.approle.read_role_id("ci")["data"]["role_id"]
    secret_id = c.auth.approle.generate_secret_id("ci")["data"]["secret_id"]
    login = client().auth.approle.login(role_id=role_id, secret_id=secret_id, use_token=False)
    assert "reader" in login["auth"]["policies"] and login["auth"]["metadata"]["role_name"] == "ci"
    with pytest.raises(exceptions.InvalidRequest):
        client().auth.approle.login(role_id=role_id, secret_id=secret_id)  # one use, already spent
    c = client(login["auth"]["client_token"])
    assert c.secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"x": "3"}


def test_userpass_login():
    c = root()
    c.sys.enable_auth_method("userpass")
    c.auth.userpass.create_or_update_user("Ana", password="correct horse", policies=["reader"])
    assert c.auth.userpass.list_user()["data"]["keys"] == ["ana"]
    assert c.auth.userpass.read_user("ana")["data"]["token_policies"] == ["reader"]
    login = client().auth.userpass.login("ana", "correct horse", use_token=False)
    assert "reader" in login["auth"]["policies"] and login["auth"]["metadata"]["username"] == "ana"
    c.auth.userpass.update_password_on_user("ana", "battery staple")
    for name, password in [("ana", "correct horse"), ("nobody", "battery staple")]:
        with pytest.raises(exceptions.InvalidRequest, match="invalid username or password"):
            client().auth.userpass.login(name, password)
    client().auth.userpass.login("ANA", "battery staple", use_token=False)
    c.auth.userpass.delete_user("ana")
    with pytest.raises(exceptions.InvalidRequest):
        client().auth.userpass.login("ana", "battery staple")


def test_a_wrapped_secret_id_is_unwrapped_once():
    c = root()
    path = "auth/approle/role/ci/secret-id"
    wrapped = c.auth.approle.generate_secret_id("ci", wrap_ttl="60s")["wrap_info"]
    assert wrapped["creation_path"] == path and wrapped["ttl"] == 60
    holder = client(wrapped["token"])
    secret_id = holder.sys.unwrap()["data"]["secret_id"]
    with pytest.raises(exceptions.InvalidRequest):
        holder.sys.unwrap()
    role_id = c.auth.approle.read_role_id("ci")["data"]["role_id"]
    assert client().auth.approle.login(role_id=role_id, secret_id=secret_id)["auth"]["client_token"]
    told = c.sys.wrap({"k": "v"}, ttl=60)["wrap_info"]["token"]
    assert c.sys.unwrap(told)["data"] == {"k": "v"}


def test_jwt_login():
    c = root()
    key, public = signing_key()
    c.sys.enable_auth_method("jwt")
    c.auth.jwt.configure(jwt_validation_pubkeys=[public], bound_issuer="https://issuer.example", default_role="app")
    c.auth.jwt.create_role(
        "app",
        role_type="jwt",
        user_claim="sub",
        bound_audiences=["symbolon"],
        bound_claims={"team": "blue"},
        allowed_redirect_uris=[],
        token_policies=["reader"],
        token_ttl=600,
    )
    now = int(time.time())
    claims = {"iss": "https://issuer.example", "sub": "svc", "aud": "symbolon", "team": "blue", "iat": now, "exp": now + 300}
    good = jwt.encode(claims, key, algorithm="ES256")
    login = client().auth.jwt.jwt_login(role="app", jwt=good)
    assert "reader" in login["auth"]["policies"]
    c = client(login["auth"]["client_token"])
    assert c.secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"x": "3"}
    me = c.auth.token.lookup_self()["data"]
    assert me["type"] == "batch"
    for wrong in (
        {**claims, "team": "red"},
        {**claims, "aud": "other"},
        {**claims, "iss": "https://evil.example"},
        {**claims, "exp": now - 3600},
    ):
        with pytest.raises((exceptions.InvalidRequest, exceptions.Forbidden)):
            client().auth.jwt.jwt_login(role="app", jwt=jwt.encode(wrong, key, algorithm="ES256"))
    other, _ = signing_key()
    with pytest.raises((exceptions.InvalidRequest, exceptions.Forbidden)):
        client().auth.jwt.jwt_login(role="app", jwt=jwt.encode(claims, other, algorithm="ES256"))


def test_kubernetes_login():
    c = root()
    key, public = signing_key()
    c.sys.enable_auth_method("kubernetes")
    # ESO's default tokens name the API server's audience; accepting them is the operator's choice.
    c.write_data(
        "auth/kubernetes/config",
        data={"kubernetes_host": "https://kubernetes.default.svc", "pem_keys": [public], "accept_api_audience": True},
    )
    c.auth.kubernetes.create_role(
        "eso", bound_service_account_names="eso", bound_service_account_namespaces="apps", policies=["reader"], ttl="10m"
    )
    now = int(time.time())
    claims = {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": "system:serviceaccount:apps:eso",
        "aud": ["https://kubernetes.default.svc.cluster.local"],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "kubernetes.io": {"namespace": "apps", "serviceaccount": {"name": "eso", "uid": "0c1f0e9e-0000-4000-8000-000000000001"}},
    }
    login = client().auth.kubernetes.login(role="eso", jwt=jwt.encode(claims, key, algorithm="ES256"))
    assert login["auth"]["metadata"]["service_account_namespace"] == "apps"
    wrong = {**claims, "sub": "system:serviceaccount:evil:eso"}
    wrong["kubernetes.io"] = {**claims["kubernetes.io"], "namespace": "evil"}
    with pytest.raises((exceptions.InvalidRequest, exceptions.Forbidden)):
        client().auth.kubernetes.login(role="eso", jwt=jwt.encode(wrong, key, algorithm="ES256"))


def test_seal_and_unseal_again():
    root().sys.seal()
    assert client().sys.is_sealed() is True
    with pytest.raises(exceptions.VaultDown):
        root().secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)
    client().sys.submit_unseal_keys(keys=STATE["shares"][1:])
    assert client().sys.is_sealed() is False
    assert root().secrets.kv.v2.read_secret_version("app/db", raise_on_deleted_version=True)["data"]["data"] == {"x": "3"}

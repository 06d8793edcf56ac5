#!/usr/bin/env python3
"""Works on a gateway with python-keycloak, as operators' scripts do: `acceptance.py URL USERNAME PASSWORD LIFE`.

LIFE is how many seconds an access token of that gateway is good for. Makes realms, users, groups and roles and leaves
them there. Ends with a traceback at the first call which does not do what it does on Keycloak.
"""

import json
import sys
import time

import requests
from keycloak import KeycloakAdmin
from keycloak.exceptions import KeycloakGetError, KeycloakPutError

REALM = "python-acme"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


def refused(error, status, call, *arguments):
    """Asserts that the client raises `error` for an answer with this status, and gives what was said."""
    try:
        call(*arguments)
    except error as refusal:
        assert refusal.response_code == status, refusal
        return json.loads(refusal.response_body)["errorMessage"]
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def named(items, key="name"):
    return sorted(item[key] for item in items)


def realms(master):
    """Thousands of realms, at once and page by page."""
    begin = time.monotonic()
    everything = master.get_realms()
    at_once = time.monotonic() - begin
    begin, pages = time.monotonic(), 0
    while page := json.loads(master.connection.raw_get("admin/realms", first=pages * 100, max=100).content):
        pages += 1
        if len(page) < 100:
            break
    by_page = (time.monotonic() - begin) / pages
    print(f"{len(everything)} realms at once: {at_once:.3f} s; a page of 100: {by_page:.4f} s")
    assert at_once < 5 and by_page < 5

    assert master.create_realm({"realm": REALM, "enabled": True}) == b""
    master.create_realm({"realm": REALM, "enabled": True}, skip_exists=True)
    assert master.get_realm(REALM)["realm"] == REALM


def provisioned(admin, server_url):
    """A user and a group which come over SCIM."""
    enabled = admin.connection.raw_post(f"admin/realms/{REALM}/scim/enable", data="{}").json()

    def push(path, resource):
        headers = {"Authorization": f"Bearer {enabled['token']}"}
        pushed = requests.post(f"{server_url}realms/{REALM}/scim/v2/{path}", json=resource, headers=headers, timeout=30)
        assert pushed.status_code == 201, pushed.text
        return pushed.json()["id"]

    alice = push("Users", {
        "schemas": [USER],
        "userName": "Alice",
        "externalId": "42",
        "name": {"givenName": "Alice", "familyName": "Liddell"},
        "emails": [{"value": "alice@example.com", "primary": True}],
    })
    members = [{"value": alice}]
    return alice, push("Groups", {"schemas": [GROUP], "displayName": "engineering", "members": members})


def reading(admin, alice, engineering):
    assert named(admin.get_users({"search": "al"}), "username") == ["alice"]
    assert named(admin.get_users({"email": "alice@example.com", "exact": True, "max": 10}), "username") == ["alice"]
    assert named(admin.get_users({"q": "externalId:42"}), "id") == [alice]
    assert admin.users_count({"search": "al"}) == 1 and admin.users_count() == 1
    assert admin.get_user_id("Alice") == alice and admin.get_user_id("bob") is None
    user = admin.get_user(alice)
    assert (user["firstName"], user["enabled"]) == ("Alice", True), user
    assert user["attributes"]["state"] == ["shadow"] and user["attributes"]["scimUserName"] == ["Alice"], user
    assert refused(KeycloakGetError, 404, admin.get_user, "nope") == "User not found"

    assert named(admin.get_groups()) == ["engineering"] and admin.groups_count() == {"count": 1}
    assert admin.get_group(engineering)["path"] == "/engineering"
    assert admin.get_group_by_path("engineering")["id"] == engineering
    assert admin.get_group_by_path("/engineering")["id"] == engineering
    assert named(admin.get_group_members(engineering), "id") == [alice]
    assert named(admin.get_user_groups(alice)) == ["engineering"]

    assert named(admin.get_realm_roles()) == ["scim-managed"]
    role = admin.get_realm_role("scim-managed")
    assert admin.get_realm_role_by_id(role["id"])["name"] == "scim-managed"
    assert named(admin.get_realm_role_members("scim-managed"), "id") == [alice]
    assert named(admin.get_all_roles_of_user(alice)["realmMappings"]) == ["scim-managed"]
    assert named(admin.get_realm_roles_of_user(alice)) == ["scim-managed"]
    assert named(admin.get_composite_realm_roles_of_user(alice)) == ["scim-managed"]


def roles(admin, alice, engineering):
    """Groups carry roles, users have them."""
    assert admin.create_realm_role({"name": "read:write", "description": "Both"}) == "read:write"
    admin.create_realm_role({"name": "read:write"}, skip_exists=True)
    admin.update_realm_role("read:write", {"name": "größe 100%", "description": "Both"})
    role = admin.get_realm_role("größe 100%")
    admin.assign_group_realm_roles(engineering, [role])
    assert named(admin.get_group_realm_roles(engineering)) == ["größe 100%"]
    assert named(admin.get_realm_role_groups("größe 100%")) == ["engineering"]
    assert named(admin.get_composite_realm_roles_of_user(alice)) == ["größe 100%", "scim-managed"]
    assert named(admin.get_available_realm_roles_of_user(alice)) == ["größe 100%"]
    admin.assign_realm_roles(alice, [role])
    assert named(admin.get_realm_role_members("größe 100%"), "id") == [alice]
    admin.delete_realm_roles_of_user(alice, [role])
    admin.delete_group_realm_roles(engineering, [role])
    assert named(admin.get_composite_realm_roles_of_user(alice)) == ["scim-managed"]
    admin.delete_realm_role("größe 100%")
    assert refused(KeycloakGetError, 404, admin.get_realm_role, "größe 100%") == "Could not find role"


def writing(admin, alice, engineering):
    """Operators keep users and groups of their own, and leave the managed ones alone."""
    said = refused(KeycloakPutError, 403, admin.update_user, alice, {"firstName": "Eve"})
    assert said == "User is managed by SCIM", said
    said = refused(KeycloakPutError, 403, admin.group_user_add, alice, engineering)
    assert said == "Group is managed by SCIM", said

    bob = admin.create_user({"username": "Bob", "email": "bob@example.com", "enabled": True, "attributes": {"team": ["a"]}})
    assert admin.create_user({"username": "Bob"}, exist_ok=True) == bob
    admin.update_user(bob, {"firstName": "Robert", "enabled": False})
    user = admin.get_user(bob)
    assert (user["firstName"], user["enabled"], user["attributes"]["team"]) == ("Robert", False, ["a"]), user
    assert named(admin.get_users({"enabled": False}), "id") == [bob]
    group = admin.create_group({"name": "on call"})
    assert admin.create_group({"name": "on call"}, skip_exists=True) is None
    for person in (alice, bob):
        admin.group_user_add(person, group)
    assert named(admin.get_group_members(group), "username") == ["alice", "bob"]
    admin.group_user_remove(bob, group)
    admin.update_group(group, {"name": "on call/night"})
    assert admin.get_group(group)["path"] == "/on call~/night"
    admin.delete_group(group)
    admin.delete_user(bob)
    assert admin.get_user_id("bob") is None and admin.groups_count() == {"count": 1}


def paging(admin):
    """The client pages by 100 until a page is short, so a page which is cut loses people."""
    group = admin.create_group({"name": "everybody"})
    for number in range(250):
        admin.group_user_add(admin.create_user({"username": f"user-{number:03}"}), group)
    assert len(admin.get_users({"search": "user-"})) == 250
    assert len(admin.get_users({})) == 251
    assert len(admin.get_group_members(group)) == 250
    assert len(admin.get_users({"max": 10, "first": 245, "search": "user-"})) == 5


def refresh(admin, life):
    """What is asked after the access token's end is answered all the same."""
    token = admin.connection.token["access_token"]
    time.sleep(life + 0.5)
    assert admin.users_count() == 251
    assert admin.connection.token["access_token"] != token


def service_account(master, server_url, users):
    """A script signs in with an id and a secret of its own, and needs nobody's password."""
    secret = "s3c+/="
    account = {"clientId": "nightly", "secret": secret, "serviceAccountsEnabled": True}
    client = master.create_client(account)
    user = master.get_client_service_account_user(client)["id"]
    master.assign_realm_roles(user, [master.get_realm_role("admin")])
    names = {"realm_name": REALM, "user_realm_name": "master"}
    admin = KeycloakAdmin(server_url=server_url, client_id="nightly", client_secret_key=secret, **names)
    assert admin.get_realm(REALM)["realm"] == REALM and admin.users_count() == users


def main(server_url, username, password, life):
    signed_in = {"server_url": server_url, "username": username, "password": password, "user_realm_name": "master"}
    master = KeycloakAdmin(realm_name="master", **signed_in)
    realms(master)
    admin = KeycloakAdmin(realm_name=REALM, **signed_in)
    alice, engineering = provisioned(admin, server_url)
    reading(admin, alice, engineering)
    roles(admin, alice, engineering)
    writing(admin, alice, engineering)
    paging(admin)
    service_account(master, server_url, 251)
    refresh(admin, float(life))
    print("python-keycloak: all calls passed")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]) if len(sys.argv) == 5 else __doc__)

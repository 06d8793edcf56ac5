// Works on a gateway with Keycloak's own admin client of npm, as operators' scripts do:
// `acceptance.mjs FOLDER URL USERNAME PASSWORD REALM`, where FOLDER is where `npm ci` has put its packages. Makes the
// realm and leaves it there. Ends with an exception at the first call which does not do what it does on Keycloak.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, baseUrl, username, password, realm] = process.argv.slice(2);
const packages = createRequire(pathToFileURL(`${folder}/`));
const client = packages.resolve("@keycloak/keycloak-admin-client");
const { default: KcAdminClient } = await import(pathToFileURL(client));

const names = (items, key = "name") => items.map((item) => item[key]).sort();

async function scim(kc) {
  const headers = { Authorization: `Bearer ${await kc.getAccessToken()}`, "Content-Type": "application/json" };
  const enabled = await fetch(`${baseUrl}/admin/realms/${realm}/scim/enable`, { method: "POST", headers });
  const { base_url, token } = await enabled.json();
  return async (path, resource) => {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/scim+json" };
    const pushed = await fetch(`${base_url}${path}`, { method: "POST", headers, body: JSON.stringify(resource) });
    assert.equal(pushed.status, 201);
    return (await pushed.json()).id;
  };
}

async function realms(kc) {
  assert.deepEqual(await kc.realms.create({ realm, enabled: true }), { realmName: realm });
  await assert.rejects(kc.realms.create({ realm, enabled: true }), /Conflict detected/);
  assert.ok(names(await kc.realms.find({ briefRepresentation: true }), "realm").includes(realm));
  assert.equal((await kc.realms.findOne({ realm })).realm, realm);
  assert.equal((await kc.realms.findOne({ realm: "nope" })) ?? null, null);
}

async function people(kc, alice, group) {
  assert.deepEqual(names(await kc.users.find({ first: 0, max: 10, search: "al" }), "username"), ["alice"]);
  assert.deepEqual(names(await kc.users.find({ username: "ALICE", exact: true }), "id"), [alice]);
  assert.deepEqual(names(await kc.users.find({ q: "externalId:42" }), "id"), [alice]);
  assert.equal(await kc.users.count({ search: "al" }), 1);
  assert.equal((await kc.users.findOne({ id: alice })).attributes.scimUserName[0], "Alice");
  assert.equal((await kc.users.findOne({ id: "nope" })) ?? null, null);
  assert.deepEqual(names(await kc.groups.find({ first: 0, max: 20, search: "e" })), ["eng/ops"]);
  assert.deepEqual(await kc.groups.count(), { count: 1 });
  assert.equal((await kc.groups.findOne({ id: group })).path, "/eng~/ops");
  assert.deepEqual(names(await kc.groups.listMembers({ id: group, first: 0, max: 10 }), "id"), [alice]);
  assert.deepEqual(names(await kc.users.listGroups({ id: alice })), ["eng/ops"]);

  const { id } = await kc.users.create({ username: "Bob", enabled: true, attributes: { team: ["a", "b"] } });
  await kc.users.update({ id }, { firstName: "Robert" });
  const bob = await kc.users.findOne({ id });
  assert.deepEqual([bob.firstName, bob.attributes.team], ["Robert", ["a", "b"]]);
  const local = await kc.groups.create({ name: "on call" });
  await kc.users.addToGroup({ id, groupId: local.id });
  assert.deepEqual(names(await kc.groups.listMembers({ id: local.id }), "username"), ["bob"]);
  await kc.users.delFromGroup({ id, groupId: local.id });
  await kc.groups.del({ id: local.id });
  await kc.users.del({ id });
  await assert.rejects(kc.users.update({ id: alice }, { firstName: "Eve" }), /User is managed by SCIM/);
  await assert.rejects(kc.groups.del({ id: group }), /Group is managed by SCIM/);
}

async function roles(kc, alice, group) {
  assert.deepEqual(await kc.roles.create({ name: "reader" }), { roleName: "reader" });
  await kc.roles.delByName({ name: "reader" });
  await kc.roles.create({ name: "read write 100%" });
  const role = await kc.roles.findOneByName({ name: "read write 100%" });
  assert.deepEqual(names(await kc.roles.find()), ["read write 100%", "scim-managed"]);
  assert.deepEqual(names(await kc.roles.findUsersWithRole({ name: "scim-managed", first: 0, max: 10 }), "id"), [alice]);
  const mapping = { id: alice, roles: [{ id: role.id, name: role.name }] };
  await kc.users.addRealmRoleMappings(mapping);
  assert.deepEqual(names(await kc.users.listRealmRoleMappings({ id: alice })), ["read write 100%", "scim-managed"]);
  await kc.users.delRealmRoleMappings(mapping);
  await kc.groups.addRealmRoleMappings({ ...mapping, id: group });
  assert.deepEqual(names((await kc.users.listRoleMappings({ id: alice })).realmMappings), ["scim-managed"]);
  const effective = await kc.users.listCompositeRealmRoleMappings({ id: alice });
  assert.deepEqual(names(effective), ["read write 100%", "scim-managed"]);
  await kc.roles.updateByName({ name: "read write 100%" }, { name: "renamed" });
  assert.equal((await kc.roles.findOneById({ id: role.id })).name, "renamed");
  await kc.roles.delByName({ name: "renamed" });
  assert.equal((await kc.roles.findOneByName({ name: "renamed" })) ?? null, null);
}

async function serviceAccount(master) {
  const clientId = `nightly-${realm}`;
  const clientSecret = "s3c+/=";
  const { id } = await master.clients.create({ clientId, secret: clientSecret, serviceAccountsEnabled: true });
  const user = await master.clients.getServiceAccountUser({ id });
  const role = await master.roles.findOneByName({ name: "admin" });
  await master.users.addRealmRoleMappings({ id: user.id, roles: [{ id: role.id, name: role.name }] });
  const kc = new KcAdminClient({ baseUrl, realmName: "master" });
  await kc.auth({ grantType: "client_credentials", clientId, clientSecret });
  kc.setConfig({ realmName: realm });
  assert.equal(await kc.users.count(), 1);
}

const kc = new KcAdminClient({ baseUrl, realmName: "master" });
await kc.auth({ username, password, grantType: "password", clientId: "admin-cli" });
await realms(kc);
kc.setConfig({ realmName: realm });
const push = await scim(kc);
const core = "urn:ietf:params:scim:schemas:core:2.0";
const alice = await push("/Users", { schemas: [`${core}:User`], userName: "Alice", externalId: "42" });
const group = await push("/Groups", { schemas: [`${core}:Group`], displayName: "eng/ops", members: [{ value: alice }] });
await people(kc, alice, group);
await roles(kc, alice, group);
kc.setConfig({ realmName: "master" });
await serviceAccount(kc);
console.log("@keycloak/keycloak-admin-client: all calls passed");

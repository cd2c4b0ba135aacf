import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sampleConfig, sampleSecurity } from "../oci/spec/sample-input.ts";
import { aSandboxConfig } from "./sandbox.fixture.ts";
import { checkMapped, checkUsers, rootOf, usersOf } from "./users.ts";

const range = (hostId: number) => ({ containerId: 0, hostId, length: 65_536 });
const users = { uids: range(100_000), gids: range(200_000) };
const others = { uids: range(100_000), gids: range(300_000) };
const hosts = aSandboxConfig();
const own = aSandboxConfig({ namespaces: { ...hosts.namespaces, users } });

function container(asked: typeof users | "node" | undefined, mapped?: typeof users) {
  const namespaces = { ...sampleSecurity.namespaces, ...(asked === undefined ? {} : { users: asked }) };
  const mount = {
    ...{ containerPath: "/v", hostPath: "/v", readonly: false, recursiveReadOnly: false, selinuxRelabel: false },
    ...{ propagation: "private" as const, ...(mapped === undefined ? {} : { idMappings: mapped }) },
  };
  return { ...sampleConfig, mounts: [mount], security: { ...sampleSecurity, namespaces } };
}

describe("the ids of a sandbox", () => {
  it("are the host's unless it has some of its own", () => {
    assert.equal(usersOf(hosts), undefined);
    assert.deepEqual(rootOf(hosts), { uid: 0, gid: 0 });
    assert.equal(usersOf(own), users);
    assert.deepEqual(rootOf(own), { uid: 100_000, gid: 200_000 });
  });

  it("are those of its containers and of their volumes, asked for or not", () => {
    for (const asked of [undefined, users]) checkUsers(own, container(asked, users));
    for (const asked of [undefined, "node"] as const) checkUsers(hosts, container(asked));
  });

  it("are no container's choice", () => {
    assert.throws(() => checkUsers(own, container("node")), /userns_options.mode is NODE/);
    assert.throws(() => checkUsers(own, container(others)), /userns_options is not what the sandbox was made with/);
    assert.throws(() => checkUsers(hosts, container(users)), /userns_options is not what the sandbox was made with/);
    for (const sandbox of [own, hosts]) {
      assert.throws(
        () => checkUsers(sandbox, container(undefined, others)),
        /mounts\[0\].uidMappings .* not the sandbox's/,
      );
    }
  });

  it("are all that its processes can have", () => {
    const user = { uid: 65_535, gid: 65_535, supplementalGroups: [0] };
    checkMapped(own, user);
    checkMapped(hosts, { ...user, uid: 70_000 });
    assert.throws(() => checkMapped(own, { ...user, uid: 65_536 }), /user 65536 is not among the 65536 ids/);
    assert.throws(() => checkMapped(own, { ...user, supplementalGroups: [70_000] }), /group 70000/);
  });
});

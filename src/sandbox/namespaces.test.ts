import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ContainerConfig, NamespaceOptions } from "../oci/config.ts";
import { containerNamespaces, pauseNamespaces } from "./namespaces.ts";
import { Paths } from "./paths.ts";
import { aSandbox } from "./sandbox.fixture.ts";

const paths = new Paths({ root: "/var/lib/nacelle", runDir: "/run/nacelle", netnsDir: "/run/netns" });
const id = "5".repeat(64);
const own: NamespaceOptions = { network: "pod", pid: "container", ipc: "pod", targetId: "" };
const pins = {
  network: `/run/netns/nacelle-${id}`,
  ipc: `/run/nacelle/mnt/s/${id}/ipc`,
  uts: `/run/nacelle/mnt/s/${id}/uts`,
  user: "host",
};

const ids = { containerId: 0, hostId: 100_000, length: 65_536 };

describe("the namespaces of a container", () => {
  it("are the sandbox's pins and a PID namespace of its own", () => {
    assert.deepEqual(of(own, own), { ...pins, pid: "new" });
  });

  it("has the PID namespace of pause where the sandbox shares one", () => {
    assert.equal(of({ ...own, pid: "pod" }, { ...own, pid: "pod" }).pid, "/proc/7/ns/pid");
  });

  it("has its own where it asks for the sandbox's and the sandbox shares none", () => {
    assert.equal(of(own, { ...own, pid: "pod" }).pid, "new");
  });

  it("has its target's", () => {
    assert.equal(of(own, { ...own, pid: "target", targetId: "abc" }).pid, "/proc/9/ns/pid");
  });

  it("are the host's in a sandbox that has the host's, whatever the container's options say", () => {
    const host: NamespaceOptions = { network: "node", pid: "node", ipc: "node", targetId: "" };
    const expected = { network: "host", ipc: "host", uts: "host", user: "host", pid: "host" };
    assert.deepEqual(of(host, { ...own, pid: "node" }), expected);
  });

  it("is the sandbox's user namespace where it has one", () => {
    const users = { uids: ids, gids: ids };
    assert.equal(of({ ...own, users }, own).user, `/run/nacelle/mnt/s/${id}/user`);
  });

  for (const kind of ["network", "pid", "ipc"] as const) {
    it(`cannot be the node's ${kind} namespace when the sandbox was not given it`, () => {
      const message = new RegExp(`namespace_options.${kind} is NODE`);
      assert.throws(() => of(own, { ...own, [kind]: "node" }), { kind: "invalidArgument", message });
    });
  }
});

it("pause makes the PID namespace and joins the pins", () => {
  const sandbox = aSandbox({ namespaces: { ...own, pid: "pod" } });
  assert.deepEqual(pauseNamespaces(paths, sandbox), { ...pins, pid: "new" });
});

function of(sandbox: NamespaceOptions, container: NamespaceOptions) {
  const config = { security: { namespaces: container } } as ContainerConfig;
  return containerNamespaces(paths, aSandbox({ namespaces: sandbox }), config, (key) => (key === id ? 7 : 9));
}

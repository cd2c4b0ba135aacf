import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aSandboxConfig } from "./sandbox.fixture.ts";
import { hostsFile, resolvConf, sandboxHostname } from "./sandbox-files.ts";

describe("resolv.conf", () => {
  it("holds what was asked for, one server a line", () => {
    const text = resolvConf({
      servers: ["10.10.10.10", "10.10.10.11"],
      searches: ["a.io", "b.io"],
      options: ["ndots:8"],
    });
    assert.equal(text, "search a.io b.io\nnameserver 10.10.10.10\nnameserver 10.10.10.11\noptions ndots:8\n");
  });

  it("is the host's when nothing was asked for, or an empty configuration", () => {
    assert.equal(resolvConf(undefined), undefined);
    assert.equal(resolvConf({ servers: [], searches: [], options: [] }), undefined);
  });
});

describe("the host name", () => {
  it("is the one asked for, else the sandbox's name, else the host's own with host network", () => {
    assert.equal(sandboxHostname(aSandboxConfig({ hostname: "db-0" })), "db-0");
    assert.equal(sandboxHostname(aSandboxConfig({ hostname: "" })), "web");
    const namespaces = { network: "node", pid: "container", ipc: "pod", targetId: "" } as const;
    assert.equal(sandboxHostname(aSandboxConfig({ namespaces })), undefined);
  });

  it("is in /etc/hosts", () => {
    assert.match(hostsFile(aSandboxConfig({ hostname: "db-0" })), /^127\.0\.1\.1\tdb-0$/m);
  });
});

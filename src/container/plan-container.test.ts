import assert from "node:assert/strict";
import test from "node:test";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import { aContainerConfig, epoch } from "./container.fixture.ts";
import { type Plan, planContainer } from "./plan-container.ts";

const image = { id: "sha256:1", repoDigests: [], config: { stopSignal: "" } };

function logPath(logDirectory: string, name: string): string {
  const images = { root: image, mounted: [] } as unknown as Plan["images"];
  const sandbox = aSandbox({ logDirectory });
  return planContainer({ id: "c", sandbox, config: aContainerConfig({ logPath: name }), images, createdAt: epoch })
    .logPath;
}

test("a container's log is below its sandbox's, and no longer than a path can be", () => {
  assert.equal(logPath("/var/log/pod", "app/0.log"), "/var/log/pod/app/0.log");
  assert.equal(logPath("", "app/0.log"), "");
  const directory = `/${"d".repeat(2047)}`;
  assert.equal(logPath(directory, "x".repeat(2046)).length, 4095);
  assert.throws(() => logPath(directory, "x".repeat(2047)), /config\.log_path.*log_directory.*4095/);
});

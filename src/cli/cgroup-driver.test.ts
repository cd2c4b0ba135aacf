import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chooseDriver } from "./cgroup-driver.ts";

describe("the cgroup driver", () => {
  it("is systemd by itself only where that owns the one hierarchy there is", () => {
    const chosen = (["v2", "hybrid", "v1"] as const).flatMap((mode) =>
      [true, false].map((isSystemd) => chooseDriver("auto", mode, isSystemd).driver),
    );
    assert.deepEqual(chosen, ["systemd", "cgroupfs", "cgroupfs", "cgroupfs", "cgroupfs", "cgroupfs"]);
  });

  it("is the one that is configured, with the reason", () => {
    assert.deepEqual(chooseDriver("cgroupfs", "v2", true), { driver: "cgroupfs", reason: "it is configured" });
    assert.equal(chooseDriver("systemd", "v1", true).driver, "systemd");
    assert.match(chooseDriver("auto", "hybrid", true).reason, /systemd is process 1, and cgroups are hybrid/);
  });

  it("is refused where systemd is not process 1", () => {
    assert.throws(() => chooseDriver("systemd", "v2", false), {
      kind: "invalidArgument",
      message: /cgroupDriver: systemd is not process 1 here: set cgroupfs, or auto/,
    });
  });
});

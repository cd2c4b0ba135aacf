import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aContainerConfig } from "./container.fixture.ts";
import { isSameContainer } from "./same-config.ts";

const mount = (containerPath: string, hostPath: string) =>
  ({
    containerPath,
    hostPath,
    readonly: false,
    recursiveReadOnly: false,
    selinuxRelabel: false,
    propagation: "private",
  }) as const;

describe("isSameContainer", () => {
  it("overlooks the file for the termination message, which a kubelet makes anew per call", () => {
    const first = aContainerConfig({ mounts: [mount("/dev/termination-log", "/p/1"), mount("/data", "/d")] });
    const second = aContainerConfig({ mounts: [mount("/dev/termination-log", "/p/2"), mount("/data", "/d")] });
    assert.equal(isSameContainer(first, second), true);
  });

  it("overlooks it at the path that the annotation names", () => {
    const annotations = { "io.kubernetes.container.terminationMessagePath": "/msg" };
    const first = aContainerConfig({ annotations, mounts: [mount("/msg", "/p/1")] });
    assert.equal(isSameContainer(first, aContainerConfig({ annotations, mounts: [mount("/msg", "/p/2")] })), true);
  });

  it("overlooks variables of services that came or went", () => {
    const envs = [
      { key: "WEB_SERVICE_HOST", value: "10.0.0.1" },
      { key: "WEB_SERVICE_PORT_HTTP", value: "80" },
      { key: "WEB_PORT_80_TCP_ADDR", value: "10.0.0.1" },
      { key: "WEB_PORT", value: "tcp://10.0.0.1:80" },
    ];
    assert.equal(isSameContainer(aContainerConfig({ envs }), aContainerConfig({ envs: [] })), true);
  });

  it("sees every other difference", () => {
    const plain = aContainerConfig({});
    for (const other of [
      aContainerConfig({ args: ["other"] }),
      aContainerConfig({ envs: [{ key: "SUPPORT", value: "1" }] }),
      aContainerConfig({ mounts: [mount("/data", "/d")] }),
      aContainerConfig({ image: { ...plain.image, image: "other" } }),
    ])
      assert.equal(isSameContainer(plain, other), false);
  });
});

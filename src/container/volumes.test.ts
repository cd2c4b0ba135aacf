import assert from "node:assert/strict";
import { it } from "node:test";
import { OperationError } from "../launcher/operation-error.ts";
import type { Operation } from "../launcher/operations.ts";
import { DomainError } from "../lib/errors.ts";
import { Paths } from "../sandbox/paths.ts";
import { aContainer } from "./container.fixture.ts";
import type { HeldImage } from "./held-images.ts";
import { fillImageVolumes, mountImages } from "./volumes.ts";

const paths = new Paths({ root: "/var/lib/nacelle", runDir: "/run/nacelle", netnsDir: "/run/netns" });

it("the filling of an image's volumes ends after the one during which nobody wants the container any more", async () => {
  const unwanted = new AbortController();
  const copied: string[] = [];
  const operations = {
    run: () => assert.fail("nothing is run"),
    perform: async (all: readonly Operation[]) => {
      copied.push(...all.flatMap((one) => (one.op === "copyInRoot" ? [one.path] : [])));
      if (copied.length === 2) unwanted.abort(new Error("the sandbox is being stopped"));
      return all.map(() => Buffer.alloc(0));
    },
  };
  const image = { config: { volumes: ["/a", "/b", "/c"] } } as unknown as HeldImage;
  const owner = { uid: 0, gid: 0 };
  const filled = fillImageVolumes(
    { operations, paths },
    aContainer({ phase: "creating" }),
    image,
    owner,
    unwanted.signal,
  );
  await assert.rejects(filled, /is being stopped/);
  assert.deepEqual(copied, ["/a", "/b"]);
});

it("an image that cannot be mounted is told of by what kept it from that, and as kubelets know it", async () => {
  const mounted = [{ index: 0, image: { layerDirs: [] } as unknown as HeldImage }];
  const failed = (error: Error) => {
    const operations = { run: () => assert.fail("nothing is run"), perform: () => Promise.reject(error) };
    const ports = { operations, paths, snapshots: { view: () => [] } };
    return mountImages(ports, aContainer({ phase: "creating" }), mounted, undefined);
  };
  const place = { syscall: "mkdir", path: "/run/nacelle/mnt/c", index: 0 };
  const message = /^ImageVolumeMountFailed: config\.mounts\[0\]: /;
  for (const [error, kind] of [
    [OperationError.failed("mounting", { ...place, errno: 28 }), "resourceExhausted"],
    [OperationError.failed("mounting", { ...place, errno: 5 }), "internal"],
    [OperationError.timedOut("mounting", 20_000, 0), "deadlineExceeded"],
    [new DomainError("unavailable", "the launcher died"), "unavailable"],
  ] as const) {
    await assert.rejects(failed(error), { kind, message });
  }
});

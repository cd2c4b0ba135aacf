import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import test, { after, before as before_, describe } from "node:test";
import { type ServiceError, status } from "@grpc/grpc-js";
import { sandboxConfig } from "../harness/cri-configs.ts";
import { TestNode } from "../harness/test-node.ts";
import { hostileRequests } from "./requests.ts";

const seed = 20_261_121;
const mostGrowthBytes = 96 << 20;
const longestMessage = 2_000;

describe("hostile requests", () => {
  const owned = new AsyncDisposableStack();
  let node: TestNode;
  let before: Consumption;
  let podSandboxId: string;

  before_(async () => {
    node = owned.use(await TestNode.start());
    ({ podSandboxId } = await node.cri.call("RunPodSandbox", { config: sandboxConfig("target") }));
    before = await consumption(node.server.pid);
  });
  after(() => owned.disposeAsync());

  test("a thousand of them are answered with the fitting code and the field's name", async () => {
    let count = 0;
    const wrong: string[] = [];
    for (const { method, request, code, field } of hostileRequests(podSandboxId, 1_000, seed)) {
      count += 1;
      const error = await failure(node.cri.call(method, request, { deadlineMs: 30_000 }));
      const fits = error.code === code && error.details.includes(field) && error.details.length < longestMessage;
      if (!fits) wrong.push(`${method} ${field}: ${status[error.code]} ${error.details.slice(0, 300)}`);
    }
    assert.ok(count >= 1_000);
    assert.deepEqual([...new Set(wrong)], []);
    assert.deepEqual((await node.cri.call("ListContainers", {})).containers, []);
    assert.equal((await node.cri.call("ListPodSandbox", {})).items.length, 1);
  });

  test("five hundred at once are all answered, and lists beside them", async () => {
    const requests = [...hostileRequests(podSandboxId, 500, seed + 1)].filter(
      ({ field }) => !/labels|annot/.test(field),
    );
    const calls = requests.map(({ method, request }) => failure(node.cri.call(method, request)));
    const lists = Array.from({ length: 50 }, () => node.cri.call("ListPodSandbox", {}));
    for (const error of await Promise.all(calls)) assert.notEqual(error.code, status.UNAVAILABLE, error.details);
    for (const { items } of await Promise.all(lists)) assert.equal(items.length, 1);
  });

  test("the server holds no more memory and no more descriptors than before, and nothing is left", async () => {
    await node.cri.call("RemovePodSandbox", { podSandboxId });
    await node.assertClean();
    const now = await consumption(node.server.pid);
    assert.ok(now.bytes - before.bytes < mostGrowthBytes, `it grew from ${before.bytes} to ${now.bytes} bytes`);
    assert.ok(now.descriptors <= before.descriptors, `${before.descriptors} descriptors became ${now.descriptors}`);
    await node.assertCleanEnd();
  });
});

interface Consumption {
  readonly bytes: number;
  readonly descriptors: number;
}

async function consumption(pid: number): Promise<Consumption> {
  const text = await readFile(`/proc/${pid}/status`, "utf8");
  const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]);
  return { bytes: kilobytes * 1024, descriptors: (await readdir(`/proc/${pid}/fd`)).length };
}

async function failure(call: Promise<unknown>): Promise<ServiceError> {
  const answer: unknown = await call.catch((error: unknown) => error);
  if (answer instanceof Error && "code" in answer && "details" in answer) return answer as ServiceError;
  return Object.assign(new Error(), { code: status.OK, details: JSON.stringify(answer) }) as ServiceError;
}

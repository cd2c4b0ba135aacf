import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { assertNoStateRows, assertNothingLeaked, snapshot } from "../harness/leaks.ts";
import { Server } from "../harness/server.ts";
import { runcWithIdmap, skipWithoutRunc, skipWithoutTools } from "../harness/tools.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import type { SpecResult } from "./junit.ts";
import { runCritest } from "./run-critest.ts";
import { exclusionReason, requiredSpecs, streamingSpecs, userNamespaceSpecs } from "./specs.ts";

test("every spec of the suite is either required or excluded for a stated reason", {
  skip: skipWithoutTools,
}, async () => {
  const suite = await runCritest({ name: "dry", endpoint: "unix:///nowhere", handler: "", processes: 1 });
  const names = new Set(suite.map(({ name }) => name));
  const all = [...requiredSpecs, ...userNamespaceSpecs];
  assert.deepEqual(
    all.filter((name) => !names.has(name)),
    [],
    "required, but not in the suite",
  );
  const required = new Set(all);
  const undecided = [...names].filter((name) => !required.has(name) && exclusionReason(name) === undefined);
  assert.deepEqual(undecided, [], "in the suite, but neither required nor excluded");
  const contradicted = all.filter((name) => exclusionReason(name) !== undefined);
  assert.deepEqual(contradicted, [], "required and excluded");
});

const withoutIdmap = "Debian's runc 1.1 has no id-mapped mounts";

/** How often the suite must pass: what fails once in ten times is a bug as well. */
const rounds = Number(process.env.NACELLE_ROUNDS ?? 1);

const runs = [
  { runtime: "crun", handler: "crun", processes: 1 },
  { runtime: "runc", handler: "", processes: 4 },
] as const;

for (const { runtime, handler, processes, round } of Array.from({ length: rounds }, (_, index) =>
  runs.map((run) => ({ ...run, round: index + 1 })),
).flat()) {
  const specs = runtime === "crun" ? [...requiredSpecs, ...userNamespaceSpecs] : requiredSpecs;
  const where = processes === 1 ? "one process" : `${processes} processes`;
  test(`critest passes with ${runtime} in ${where}, round ${round} of ${rounds}`, {
    skip: skipWithoutTools,
  }, async (t) => {
    await using registry = await Registry.start();
    await pushLayout(await builtLayout(), registry.address);
    await using server = await Server.start({ mirror: registry.address });
    const before = await snapshot(server.paths);
    const results = await runCritest({ name: runtime, endpoint: server.endpoint, handler, processes, specs });
    await reportSpecs(t, { results, server, specs });
    for (const left of userNamespaceSpecs.filter((one) => !specs.includes(one)))
      await t.test(left, { skip: withoutIdmap });
    await t.test("nothing is left behind", async () => {
      await assertNothingLeaked(before, server.paths);
      await server.stop();
      await assertNoStateRows(server.paths);
    });
  });
}

test("critest passes with user namespaces of a newer runc", {
  skip: skipWithoutTools || skipWithoutRunc,
}, async (t) => {
  await using registry = await Registry.start();
  await pushLayout(await builtLayout(), registry.address);
  await using server = await Server.start({
    mirror: registry.address,
    settings: { "runtimes.runc.path": runcWithIdmap() },
  });
  const before = await snapshot(server.paths);
  const specs = userNamespaceSpecs;
  const results = await runCritest({ name: "runc-idmap", endpoint: server.endpoint, handler: "", processes: 1, specs });
  await reportSpecs(t, { results, server, specs });
  await assertNothingLeaked(before, server.paths);
});

test("critest streams over WebSocket", { skip: skipWithoutTools }, async (t) => {
  await using registry = await Registry.start();
  await pushLayout(await builtLayout(), registry.address);
  await using server = await Server.start({ mirror: registry.address });
  const before = await snapshot(server.paths);
  const specs = streamingSpecs;
  const options = ["--websocket-exec", "--websocket-attach", "--websocket-portforward"];
  const run = { name: "websocket", endpoint: server.endpoint, handler: "", processes: 1, specs, options };
  await reportSpecs(t, { results: await runCritest(run), server, specs });
  await assertNothingLeaked(before, server.paths);
});

interface Reported {
  readonly results: readonly SpecResult[];
  readonly server: Server;
  /** Those that must have passed. */
  readonly specs: readonly string[];
}

/** One subtest per spec, so that each is counted; one that did not run fails, and so does one that nobody asked for. */
async function reportSpecs(t: TestContext, { results, server, specs }: Reported): Promise<void> {
  const byName = new Map(results.map((result) => [result.name, result]));
  for (const name of specs) {
    await t.test(name, async () => {
      const { status = "absent", output = "" } = byName.get(name) ?? {};
      if (status !== "passed") assert.fail(`${status}\n${output}`);
    });
  }
  await t.test("no other spec ran", async () => {
    const required = new Set(specs);
    const others = results.filter(({ name, status }) => status !== "skipped" && !required.has(name));
    if (others.length > 0) t.diagnostic(await server.logTail());
    assert.deepEqual(others, []);
  });
}

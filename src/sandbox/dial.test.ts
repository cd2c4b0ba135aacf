import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { MonitorError } from "../monitor/monitor-error.ts";
import type { DialRequest } from "../monitor/stream-protocol.ts";
import { dialSandbox } from "./dial.ts";
import type { Monitors } from "./monitors.ts";
import { Paths } from "./paths.ts";
import { aSandbox } from "./sandbox.fixture.ts";

const paths = new Paths({ root: "/r", runDir: "/run", netnsDir: "/run/netns" });
const never = new AbortController().signal;

/** Monitors of which each fails a dial so; what was asked of them is kept. */
function failing(error: Error) {
  const asked: DialRequest[] = [];
  const dial = (request: DialRequest) => {
    asked.push(request);
    return Promise.reject(error);
  };
  const require = () => ({ hello: { build: "0.0.9" }, dial });
  return { asked, monitors: { require } as unknown as Pick<Monitors, "require"> };
}

function failure(code: "SYSCALL" | "UNSUPPORTED" | "TIMEOUT", errno = 0, what = "connect"): MonitorError {
  return new MonitorError("NET_CONNECT 80", { code, errno, what, path: "127.0.0.1:80 and [::1]:80" });
}

function says(kind: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DomainError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    return true;
  };
}

test("a pod's own network is entered, the node's is where the monitor lives", async () => {
  const { asked, monitors } = failing(failure("TIMEOUT"));
  const pod = aSandbox();
  const node = aSandbox({ namespaces: { network: "node", pid: "container", ipc: "pod", targetId: "" } });
  for (const sandbox of [pod, node])
    await assert.rejects(dialSandbox({ monitors, paths }, sandbox, 80, never), says("deadlineExceeded", /port 80/));
  assert.deepEqual(
    asked.map(({ netns }) => netns),
    [paths.netns(pod.id), ""],
  );
});

test("who refuses is named, with what and where", async () => {
  const refused = failing(failure("SYSCALL", 111));
  const message = /port 80 of sandbox 5{64}: ECONNREFUSED at 127.0.0.1:80 and \[::1\]:80$/;
  await assert.rejects(dialSandbox({ ...refused, paths }, aSandbox(), 80, never), says("unavailable", message));
  const closed = failing(failure("SYSCALL", 2, "netns"));
  await assert.rejects(
    dialSandbox({ ...closed, paths }, aSandbox(), 80, never),
    says("unavailable", /namespace.*ENOENT/),
  );
});

test("a monitor of an earlier version is named, with the remedy", async () => {
  const { monitors } = failing(failure("UNSUPPORTED"));
  const message = /monitor was started by an earlier nacelle \(0\.0\.9\).*create the pod anew/;
  await assert.rejects(dialSandbox({ monitors, paths }, aSandbox(), 80, never), says("failedPrecondition", message));
});

test("what is no port, and a sandbox that is not ready, are refused before anything is asked", async () => {
  const { asked, monitors } = failing(failure("TIMEOUT"));
  for (const port of [0, -1, 65_536, 1.5, Number.NaN])
    await assert.rejects(dialSandbox({ monitors, paths }, aSandbox(), port, never), says("invalidArgument", /65535/));
  const stopped = { ...aSandbox(), state: { phase: "notReady", reason: "Stopped", released: true } } as const;
  await assert.rejects(dialSandbox({ monitors, paths }, stopped, 80, never), says("failedPrecondition", /not ready/));
  assert.deepEqual(asked, []);
});

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import test, { after, before, describe } from "node:test";
import { freePort, written } from "../harness/event.ts";
import { assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import { skipWithoutTools } from "../harness/tools.ts";
import { CrictlNode, nginx } from "./pods.ts";
import { Terminal } from "./terminal.ts";

for (const runtime of ["runc", "crun"] as const) {
  describe(`crictl's streams with ${runtime}`, { skip: skipWithoutTools }, () => {
    const owned = new AsyncDisposableStack();
    let node: CrictlNode;
    let clean: Snapshot;
    let container: string;
    let sandbox: string;

    before(async () => {
      node = owned.use(await CrictlNode.start({ defaultRuntime: runtime }));
      clean = await snapshot(node.server.paths);
      ({ sandbox, container } = await node.pod({}));
    });
    after(() => owned.disposeAsync());

    for (const transport of ["spdy", "websocket"] as const) {
      const by = `--transport=${transport}`;

      test(`exec tells output, errors and code apart over ${transport}`, async () => {
        const script = "echo out; echo err >&2; exit 7";
        const { code, stdout, stderr } = await node.crictl.attempt("exec", by, container, "sh", "-c", script);
        assert.equal(stdout, "out\n");
        assert.match(stderr, /^err$/m);
        assert.match(stderr, /exit code 7|exit status 7/);
        assert.notEqual(code, 0);
      });

      test(`exec takes input to its end over ${transport}, as copying a tree by tar does`, async () => {
        const bytes = randomBytes(3_000_000).toString("base64");
        const { code, stdout } = await node.crictl.attemptWith(bytes, "exec", "-i", by, container, "cat");
        assert.equal(code, 0);
        assert.ok(stdout === bytes, `${stdout.length} of ${bytes.length} bytes came back`);
      });

      test(`exec of what is not there fails with the runtime's words over ${transport}`, async () => {
        const { code, stderr } = await node.crictl.attempt("exec", by, container, "/no/such/program");
        assert.notEqual(code, 0);
        assert.match(stderr, /no such file|not found/i);
      });

      test(`exec in a terminal has its size, its changes and its keys over ${transport}`, async () => {
        await using terminal = await Terminal.start(await node.crictl.command("exec", "-it", by, container, "sh"));
        await terminal.shows("#");
        await terminal.type("echo size $(stty size) term $TERM");
        await terminal.press("Enter");
        await terminal.shows("size 43 132 term xterm");
        await terminal.type("until stty size | grep '30 100'; do :; done; echo has been resiz''ed");
        await terminal.press("Enter");
        await terminal.resize(100, 30);
        await terminal.shows("has been resized");
        await terminal.type("echo runn''ing; sleep 1000");
        await terminal.press("Enter");
        await terminal.shows("running");
        await terminal.press("C-c");
        await terminal.type("echo interrupted=$?");
        await terminal.press("Enter");
        await terminal.shows("interrupted=130");
        await terminal.type("exit 5");
        await terminal.press("Enter");
        assert.notEqual(await terminal.code(), 0);
        await terminal.shows("exit code 5");
      });

      test(`attach talks to a container's shell in its terminal, and leaves it running, over ${transport}`, async () => {
        const { container: shell, sandbox: pod } = await node.pod({ command: ["sh"], stdin: true, tty: true });
        {
          await using terminal = await Terminal.start(await node.crictl.command("attach", "-it", by, shell));
          await terminal.press("Enter");
          await terminal.type("echo sum=$((40 + 2)) size=$(stty size)");
          await terminal.press("Enter");
          await terminal.shows("sum=42 size=43 132");
        }
        await using again = await Terminal.start(await node.crictl.command("attach", "-it", by, shell));
        await again.type("echo again=$((1 + 1))");
        await again.press("Enter");
        await again.shows("again=2");
        await again.type("exit 0");
        await again.press("Enter");
        assert.equal(await again.code(), 0);
        await node.crictl.run("rmp", "-f", pod);
      });

      test(`attach to a container whose input ends once ends with it over ${transport}`, async () => {
        const config = { command: ["cat"], stdin: true, stdin_once: true };
        const { container: cat, sandbox: pod } = await node.pod(config);
        const { code, stdout } = await node.crictl.attemptWith("one\ntwo\n", "attach", "-i", by, cat);
        assert.deepEqual([code, stdout], [0, "one\ntwo\n"]);
        await node.crictl.run("rmp", "-f", pod);
      });

      test(`port-forward serves many connections, and ends one to a port without a listener, over ${transport}`, async () => {
        const web = await node.pod({ image: { image: nginx }, command: [] });
        const [local, unheard] = [await freePort(), await freePort()];
        const log = `forward-${transport}.log`;
        await using forward = await node.background(
          log,
          ...["port-forward", by, web.sandbox, `${local}:80`, `${unheard}:81`],
        );
        await forward.until((signal) => written(forward.logFile, `127.0.0.1:${unheard}`, signal), 20_000);
        for (let round = 0; round < 3; round++) {
          const pages = Array.from({ length: 20 }, () => page(local));
          for (const text of await Promise.all(pages)) assert.equal(text, "<p>it works\n");
        }
        // crictl itself gives up all of them after the error of one.
        await assert.rejects(page(unheard));
        await node.crictl.run("rmp", "-f", web.sandbox);
      });
    }

    test("nothing is left of it all", async () => {
      await node.crictl.run("rmp", "-f", sandbox);
      await assertNothingLeaked(clean, node.server.paths);
    });
  });
}

async function page(port: number): Promise<string> {
  const url = `http://127.0.0.1:${port}/`;
  const response = await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(20_000) });
  return await response.text();
}

import assert from "node:assert/strict";
import test from "node:test";
import { type ClientStream, SpdyClient } from "../harness/spdy-client.ts";
import { WebSocketClient } from "../harness/websocket-client.ts";
import type { ClusterNode } from "./cluster-node.ts";
import { fullName, podManifest, podNamespace, shell, waits } from "./pod.ts";

const success = '{"metadata":{},"status":"Success"}';
const greets = ["sh", "-c", "read name; echo hello $name; echo oh >&2; exit 3"];

/** Tests of exec, attach and port-forward through the kubelet's API, which passes on what a client speaks. */
export function testStreaming(node: () => ClusterNode): void {
  test("a command over SPDY gets input, answers with both outputs and tells how it ended", async () => {
    await node().apply(podManifest("spdy", { containers: [shell("main", waits)] }));
    await node().untilReady("spdy");
    const to = execPlace(node(), "spdy", ["input", "output", "error"], greets);
    const { client, stream } = await open(to, ["stdin", "stdout", "stderr"]);
    await stream("stdin").write("world\n");
    stream("stdin").end();
    assert.equal(await stream("stdout").text(), "hello world\n");
    assert.equal(await stream("stderr").text(), "oh\n");
    assert.deepEqual(exitCode(await stream("error").text()), "3");
    await client.closed;
  });

  for (const protocol of ["v4.channel.k8s.io", "v5.channel.k8s.io"]) {
    test(`a command over WebSocket with ${protocol} gets input, answers with both outputs and tells how it ended`, async () => {
      const pod = `websocket-${protocol.slice(0, 2)}`;
      await node().apply(podManifest(pod, { containers: [shell("main", waits)] }));
      await node().untilReady(pod);
      const { url, tls } = execPlace(node(), pod, ["input", "output", "error"], greets);
      await using client = await WebSocketClient.connect(url, [protocol], tls);
      assert.equal(client.protocol, protocol);
      const said = ["", "", "", ""];
      client.receive((message) => {
        const channel = message[0] ?? 0;
        said[channel] = `${said[channel]}${message.toString("utf8", 1)}`;
      });
      await client.send(Buffer.from("\0world\n"));
      await client.closed;
      assert.deepEqual(said.slice(0, 3), ["", "hello world\n", "oh\n"]);
      assert.deepEqual(exitCode(said[3] ?? ""), "3");
    });
  }

  test("a terminal has the size that the client says", async () => {
    await node().apply(podManifest("terminal", { containers: [shell("main", waits)] }));
    await node().untilReady("terminal");
    const command = ["sh", "-c", "read line; stty size"];
    const to = execPlace(node(), "terminal", ["input", "output", "tty"], command);
    const { client, stream } = await open(to, ["stdin", "stdout", "resize"]);
    await stream("resize").write('{"Width":132,"Height":43}');
    await stream("stdin").write("\n");
    assert.match(await stream("stdout").text(), /43 132/);
    assert.equal(await stream("error").text(), success);
    await client.closed;
  });

  test("a client attaches to a container's input and output", async () => {
    const script = 'while read line; do test "$line" = end && exit 0; echo "got $line"; done';
    const spec = { restartPolicy: "Never", containers: [shell("main", script, { stdin: true })] };
    await node().apply(podManifest("attached", spec));
    await node().untilReady("attached");
    const to = place(node(), `attach/${podNamespace}/${fullName("attached")}/main`, ["input=1", "output=1"]);
    const { client, stream } = await open(to, ["stdin", "stdout"]);
    await stream("stdin").write("one\n");
    await stream("stdin").write("end\n");
    assert.equal(await stream("stdout").text(), "got one\n");
    assert.equal(await node().logs("attached", "main"), "got one\n");
    await client.closed;
  });

  for (const transport of ["SPDY", "a WebSocket"] as const) {
    test(`ports of a pod are reached through ${transport}, and one without a listener fails alone`, async () => {
      const pod = `forward-${transport.at(-1)?.toLowerCase()}`;
      const readinessProbe = { httpGet: { port: 8080, path: "/" }, periodSeconds: 1, timeoutSeconds: 30 };
      await node().apply(
        podManifest(pod, { containers: [shell("main", "exec httpd -f -p 8080 -h /www", { readinessProbe })] }),
      );
      await node().untilReady(pod);
      const { url, tls } = place(node(), `portForward/${podNamespace}/${fullName(pod)}`);
      await using client =
        transport === "SPDY"
          ? await SpdyClient.connect(url, ["portforward.k8s.io"], tls)
          : new SpdyClient((await WebSocketClient.connect(url, ["SPDY/3.1+portforward.k8s.io"], tls)).tunnel());
      const deaf = await pair(client, "9", "0");
      assert.match(await deaf.error.text(), /port 9 .*ECONNREFUSED/);
      const { data, error } = await pair(client, "8080", "1");
      await data.write("GET / HTTP/1.0\r\n\r\n");
      assert.match(await data.text(), /^HTTP\/1\.[01] 200 OK\r\n[\s\S]*<p>it works\n$/);
      data.end();
      assert.equal(await error.text(), "");
    });
  }
}

/** Where the kubelet serves something, and how it proves that it does. */
interface Place {
  readonly url: string;
  readonly tls: { readonly ca: string; readonly servername: string };
}

function place(node: ClusterNode, path: string, query: readonly string[] = []): Place {
  const { host, port, tls } = node.kubelet.api;
  return { url: `https://${host}:${port}/${path}?${query.join("&")}`, tls };
}

/** `streams` as the kubelet's API names them: input, output, error, tty. */
function execPlace(node: ClusterNode, pod: string, streams: readonly string[], command: readonly string[]): Place {
  const words = command.map((word) => `command=${encodeURIComponent(word)}`);
  return place(node, `exec/${podNamespace}/${fullName(pod)}/main`, [...streams.map((name) => `${name}=1`), ...words]);
}

/** A client with an error stream and these, each accepted. */
async function open(
  { url, tls }: Place,
  names: readonly string[],
): Promise<{ readonly client: SpdyClient; readonly stream: (name: string) => ClientStream }> {
  const client = await SpdyClient.connect(url, ["v4.channel.k8s.io"], tls);
  assert.equal(client.protocol, "v4.channel.k8s.io");
  const streams: Record<string, ClientStream> = {};
  for (const streamtype of ["error", ...names]) streams[streamtype] = await client.open({ streamtype });
  return { client, stream: (name) => streams[name] ?? assert.fail(`no stream ${name}`) };
}

async function pair(client: SpdyClient, port: string, requestid: string) {
  const error = await client.open({ streamtype: "error", port, requestid });
  const data = await client.open({ streamtype: "data", port, requestid });
  error.end();
  return { error, data };
}

function exitCode(status: string): unknown {
  return JSON.parse(status).details.causes[0].message;
}

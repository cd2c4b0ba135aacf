import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, it } from "node:test";
import { failedPrecondition } from "./errors.ts";
import { Log, type LogFormat, type LogLevel, resolveFormat } from "./log.ts";
import { LogWriter } from "./log-writer.ts";

const now = () => Temporal.Instant.from("2026-11-21T12:00:00.5Z");

function setup(format: LogFormat = "logfmt", level: LogLevel = "info") {
  const lines: string[] = [];
  return { lines, log: Log.to({ level, format, now, output: (line) => void lines.push(line) }) };
}

describe("Log", () => {
  it("writes one logfmt line per event, with the fields of the logger first", () => {
    const { log, lines } = setup();
    log.child({ call: 7 }).child({ sandbox: "ab" }).info("sandbox ready", { ms: 12.5, absent: undefined, empty: "" });
    assert.deepEqual(lines, [
      'ts=2026-11-21T12:00:00.500Z level=info msg="sandbox ready" call=7 sandbox=ab ms=12.5 empty=""',
    ]);
  });

  it("keeps a line one line and a terminal unharmed, whatever a client sends", () => {
    const { log, lines } = setup();
    log.info("pulled", { image: 'a\nlevel=error\u001b[2J\u009b "x"=y', msg: "forged", level: "error" });
    assert.deepEqual(lines, [
      String.raw`ts=2026-11-21T12:00:00.500Z level=info msg=pulled image="a\nlevel=error\u001b[2J\u009b \"x\"=y"`,
    ]);
  });

  it("spells out errors with their kind and causes", () => {
    const { log, lines } = setup("json");
    log.error("cannot start", {
      error: new Error("outer", { cause: new Error("inner") }),
      why: failedPrecondition("no"),
    });
    const expected = { ts: "2026-11-21T12:00:00.500Z", level: "error", msg: "cannot start", error: "outer: inner" };
    assert.deepEqual(JSON.parse(lines[0] ?? ""), { ...expected, why: "no", "why.kind": "failedPrecondition" });
  });

  it("cuts long values and hides secrets", () => {
    const { log, lines } = setup("json");
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    log.info("x", {
      long: "y".repeat(5000),
      registryToken: "s3cret",
      url: "https://u:s3cret@host/v2",
      cyclic,
      list: [1],
    });
    assert.ok(!lines[0]?.includes("s3cret"));
    assert.match(lines[0] ?? "", /y{1024}… \(3976 more\)".*:\/\/\[hidden\]@host.*"list":"\[1\]"/);
  });

  it("shows its level and what is graver, and can change it for all its children", () => {
    const { log, lines } = setup("logfmt", "warn");
    const child = log.child({});
    for (const level of ["error", "warn", "info", "debug"] as const) child[level](level);
    assert.equal(lines.length, 2);
    log.configure({ level: "debug", format: "json" });
    child.debug("now");
    assert.match(lines[2] ?? "", /^\{"ts"/);
  });

  it("speaks logfmt to a person and JSON to a program", () => {
    assert.equal(resolveFormat("auto", true), "logfmt");
    assert.equal(resolveFormat("auto", false), "json");
    assert.equal(resolveFormat("logfmt", false), "logfmt");
  });
});

describe("LogWriter", () => {
  it("drops and counts lines once a megabyte waits, and says so when there is room again", async () => {
    const writes: string[] = [];
    let release = Promise.withResolvers<void>();
    const sink = async (bytes: Buffer) => {
      writes.push(bytes.toString());
      await release.promise;
    };
    const writer = new LogWriter(sink, (count) => `dropped ${count}`);
    writer.line("first");
    for (let n = 0; n < 2000; n += 1) writer.line("x".repeat(999));
    assert.ok(writer.dropped > 900 && writer.dropped < 1000, String(writer.dropped));
    const { dropped } = writer;
    release.resolve();
    release = Promise.withResolvers();
    release.resolve();
    await writer[Symbol.asyncDispose]();
    assert.equal(writes.length, 2);
    assert.ok(writes[1]?.endsWith(`dropped ${dropped}\n`));
    assert.equal(writer.dropped, dropped);
  });

  it("survives a reader that is gone", async () => {
    const writer = new LogWriter(() => Promise.reject(new Error("EPIPE")), String);
    writer.line("nobody hears this");
    await writer[Symbol.asyncDispose]();
    writer.line("nor this");
    await writer[Symbol.asyncDispose]();
    assert.equal(writer.dropped, 2);
  });

  it("blocks neither the event loop nor the end of the process when a pipe is full", async () => {
    const script = `
      const { LogWriter, descriptorSink } = await import(${JSON.stringify(`${import.meta.dirname}/log-writer.ts`)});
      const writer = new LogWriter(descriptorSink(2), String);
      for (let n = 0; n < 3000; n += 1) writer.line("x".repeat(999));
      setImmediate(() => process.stdout.write("alive " + (writer.dropped > 1000)));`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for await (const chunk of child.stdout) text += String(chunk); // its stderr is never read
    assert.equal(text, "alive true");
  });
});

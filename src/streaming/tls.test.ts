import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtempDisposable, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import { DomainError } from "../lib/errors.ts";
import { exec, start } from "./streaming-server.fixture.ts";
import { watchTlsFiles } from "./tls-files.ts";

/** A certificate of its own signing, for this name. */
function makeCertificate(folder: string, name: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", ...options, "-subj", `/CN=${name}`, "-out", cert, "-keyout", key], {
    stdio: "ignore",
  });
  return { cert, key };
}

async function handshake(url: string): Promise<TLSSocket> {
  const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  return socket;
}

it("speaks TLS with the certificate that it was given", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "tls-"));
  await using node = await start((session) => session.exit(0), { tls: makeCertificate(folder.path, "one") });
  const url = node.server.url(exec("stdout"));
  assert.match(url, /^https:\/\/127\.0\.0\.1:\d+\/exec\//);
  const socket = await handshake(url);
  assert.equal(socket.getPeerCertificate().subject.CN, "one");
  const { pathname } = new URL(url);
  const headers = [
    "Host: x",
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
  ];
  socket.write(`POST ${pathname} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 101 /);
  socket.destroy();
});

it("names the file that it cannot read", async () => {
  const files = { cert: "/no/such.crt", key: "/no/such.key" };
  await assert.rejects(start(undefined, { tls: files }), (error) => {
    assert.ok(error instanceof DomainError);
    assert.match(error.message, /^streaming\.tlsCert: .*\/no\/such\.crt/);
    return true;
  });
});

it("gives what the files hold, also after a change, and tells once what cannot be used", async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "tls-"));
  const files = makeCertificate(folder.path, "one");
  t.mock.timers.enable({ apis: ["setInterval"] });
  const seen: string[] = [];
  let next = Promise.withResolvers<void>();
  const tell = (text: string) => {
    seen.push(text);
    next.resolve();
  };
  using _watch = await watchTlsFiles(files, ({ cert }) => tell(cert.toString().slice(0, 10)), tell);
  for (const change of [
    () => writeFile(files.cert, "renewed"),
    () => rm(files.key),
    () => writeFile(files.key, "new"),
  ]) {
    next = Promise.withResolvers<void>();
    await change();
    t.mock.timers.tick(10_000);
    await next.promise;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(seen[2] ?? "", /^streaming\.tlsKey: ENOENT/);
  assert.deepEqual([seen[0], seen[1], seen[3]], ["-----BEGIN", "renewed", "renewed"]);
});

it("uses a renewed certificate for the next connection", async (t) => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "tls-"));
  const tls = makeCertificate(folder.path, "one");
  t.mock.timers.enable({ apis: ["setInterval"] });
  await using node = await start(undefined, { tls });
  const renewed = makeCertificate(folder.path, "two");
  await copyFile(renewed.key, tls.key);
  await copyFile(renewed.cert, tls.cert);
  const name = async () => {
    const socket = await handshake(node.server.url(exec("stdout")));
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  const deadline = performance.now() + 10_000;
  let found = await name();
  // Nothing tells that a look has ended.
  while (found !== "two" && performance.now() < deadline) {
    t.mock.timers.tick(10_000);
    found = await name();
  }
  assert.equal(found, "two");
});

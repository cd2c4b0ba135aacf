import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { DomainError, messageOf } from "../../lib/errors.ts";
import type { Credentials } from "./auth-file.ts";
import { HttpClient } from "./http.ts";
import { FakeRegistry, makeImage } from "./registry.fixture.ts";
import { Repository } from "./repository.ts";

const never = new AbortController().signal;
const http = new HttpClient({ connectMs: 2_000, stallMs: 300 });
after(() => http[Symbol.dispose]());

const image = makeImage([Buffer.alloc(200_000, 1)], {}, (tar) => tar, "application/vnd.oci.image.layer.v1.tar");
const [layer = image.config] = image.layers;
const secret: Credentials = { kind: "basic", username: "user", password: "s3cret" };
const basic = `Basic ${Buffer.from("user:s3cret").toString("base64")}`;

function repository(registry: FakeRegistry, credentials?: Credentials): Repository {
  return new Repository(http, { host: registry.host, path: "a/b", insecure: false, isMirror: false }, credentials);
}

async function start(): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start();
  registry.add("a/b", "v1", image);
  return registry;
}

async function download(from: Repository, size = layer.bytes.length, signal = never): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of from.blob(layer.digest, size, signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function kindOf(kind: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.match(messageOf(error), message);
    assert.doesNotMatch(messageOf(error), /s3cret/);
    return error instanceof DomainError && error.kind === kind;
  };
}

describe("a registry that asks for a token", () => {
  const guard = (registry: FakeRegistry, realm: string) => {
    registry.intercept = ({ url = "", headers }, response) => {
      if (url.startsWith("/token")) {
        const isKnown = headers.authorization === basic;
        response.writeHead(isKnown ? 200 : 403).end(JSON.stringify({ token: "t0ken", expires_in: 60 }));
        return true;
      }
      if (headers.authorization === "Bearer t0ken") return false;
      response.writeHead(401, {
        "www-authenticate": `Bearer realm="${realm}",service="reg",scope="repository:a/b:pull"`,
      });
      response.end();
      return true;
    };
  };

  it("gets one, once, for the scope that it names", async () => {
    await using registry = await start();
    guard(registry, `http://${registry.host}/token`);
    const from = repository(registry, secret);
    await from.manifest("v1", never);
    const blobs = await Promise.all([download(from), download(from)]);
    assert.equal(blobs[0]?.equals(layer.bytes), true);
    assert.equal(registry.count("/token"), 1);
    assert.equal(registry.count("scope=repository%3Aa%2Fb%3Apull"), 1);
    assert.equal(registry.count("service=reg"), 1);
    assert.ok(registry.requests.every(({ url, authorization }) => url.startsWith("/token") || authorization !== basic));
  });

  it("and refuses the credentials is named, not quoted", async () => {
    await using registry = await start();
    guard(registry, `http://${registry.host}/token`);
    const wrong = repository(registry, { ...secret, password: "s3cret-wrong" });
    await assert.rejects(
      wrong.manifest("v1", never),
      kindOf("failedPrecondition", /refuses repository:a\/b:pull.*403; check the credentials/),
    );
  });

  it("and names a service that is not spoken to over HTTP gets no credentials", async () => {
    await using registry = await start();
    guard(registry, "ftp://elsewhere/token");
    await assert.rejects(
      repository(registry, secret).manifest("v1", never),
      kindOf("failedPrecondition", /does not use TLS/),
    );
  });
});

describe("a registry", () => {
  it("that asks for a password gets it, after it has asked", async () => {
    await using registry = await start();
    registry.intercept = ({ headers }, response) => {
      if (headers.authorization === basic) return false;
      response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      return true;
    };
    await repository(registry, secret).manifest("v1", never);
    assert.deepEqual(
      registry.requests.map(({ authorization }) => authorization),
      [undefined, basic],
    );
    await assert.rejects(
      repository(registry).manifest("v1", never),
      kindOf("failedPrecondition", /there are none for this host/),
    );
  });

  it("that redirects to another host does not take the credentials there", async () => {
    await using registry = await start();
    await using store = await start();
    registry.intercept = ({ url = "", headers }, response) => {
      if (headers.authorization === undefined) response.writeHead(401, { "www-authenticate": "Basic" }).end();
      else if (url.includes("blobs")) response.writeHead(307, { location: `http://${store.host}${url}` }).end();
      else return false;
      return true;
    };
    assert.equal((await download(repository(registry, secret))).equals(layer.bytes), true);
    assert.deepEqual(
      store.requests.map(({ authorization }) => authorization),
      [undefined],
    );
  });

  it("that redirects without end is given up", async () => {
    await using registry = await start();
    registry.intercept = ({ url = "" }, response) => {
      response.writeHead(302, { location: url }).end();
      return true;
    };
    await assert.rejects(repository(registry).manifest("v1", never), /too many redirects/);
    assert.ok(registry.requests.length < 20);
  });

  it("that is busy is asked again after the time that it names", async () => {
    await using registry = await start();
    let busy = 2;
    registry.intercept = (_request, response) => {
      if (busy-- <= 0) return false;
      response.writeHead(busy === 1 ? 429 : 503, { "retry-after": "0" }).end();
      return true;
    };
    await repository(registry).manifest("v1", never);
    assert.equal(registry.requests.length, 3);
  });

  it("that stays busy is unavailable, in its own words", async () => {
    await using registry = await start();
    registry.intercept = (_request, response) => {
      response.writeHead(429, { "retry-after": "0" });
      response.end(JSON.stringify({ errors: [{ code: "TOOMANYREQUESTS", message: "slow\ndown" }] }));
      return true;
    };
    const message = /^RegistryUnavailable: registry 127.* answered 429 \(slow down\)/;
    await assert.rejects(repository(registry).manifest("v1", never), kindOf("unavailable", message));
  });

  it("that does not know the image says so", async () => {
    await using registry = await start();
    await assert.rejects(
      repository(registry).manifest("v2", never),
      kindOf("notFound", /has no a\/b manifests\/v2: 404 \(manifest unknown\)/),
    );
  });

  it("that cannot be reached is unavailable, with what to do", async () => {
    const from = new Repository(http, { host: "127.0.0.1:1", path: "x", insecure: false, isMirror: false }, undefined);
    await assert.rejects(
      from.manifest("v1", never),
      kindOf(
        "unavailable",
        /^RegistryUnavailable: cannot reach registry 127\.0\.0\.1:1: .*ECONNREFUSED.*check that it runs/,
      ),
    );
  });

  it("that accepts and says nothing is given up", async () => {
    await using registry = await start();
    registry.intercept = () => true;
    await assert.rejects(
      repository(registry).manifest("v1", never),
      kindOf("unavailable", /^RegistryUnavailable: .*nothing received for 0\.3 s/),
    );
  });

  it("that sends a manifest without end is cut off", async () => {
    await using registry = await start();
    registry.intercept = ({ url = "" }, response) => {
      if (!url.includes("manifests")) return false;
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20)));
      };
      response.on("drain", more);
      more();
      return true;
    };
    await assert.rejects(repository(registry).manifest("v1", never), kindOf("invalidArgument", /larger than 4194304/));
  });
});

describe("a blob", () => {
  it("whose connection breaks goes on where it was", async () => {
    await using registry = await start();
    let breaks = 3;
    registry.intercept = ({ headers }, response) => {
      if (breaks-- <= 0) return false;
      const start = Number(/[0-9]+/.exec(headers.range ?? "0")?.[0]);
      response.writeHead(start > 0 ? 206 : 200, { "content-length": layer.bytes.length - start });
      response.write(layer.bytes.subarray(start, start + 50_000), () => response.destroy());
      return true;
    };
    assert.equal((await download(repository(registry))).equals(layer.bytes), true);
    assert.equal(registry.requests.length, 4);
  });

  it("from a registry that ignores Range is still whole", async () => {
    await using registry = await start();
    let breaks = 1;
    registry.intercept = (_request, response) => {
      response.writeHead(200, { "content-length": layer.bytes.length });
      if (breaks-- > 0) response.write(layer.bytes.subarray(0, 70_000), () => response.destroy());
      else response.end(layer.bytes);
      return true;
    };
    assert.equal((await download(repository(registry))).equals(layer.bytes), true);
  });

  it("that is longer than its manifest says is cut off", async () => {
    await using registry = await start();
    await assert.rejects(download(repository(registry), 1000), kindOf("invalidArgument", /longer than 1000 bytes/));
  });

  it("that ends early every time is unavailable", async () => {
    await using registry = await start();
    registry.replace(layer.digest, layer.bytes.subarray(0, 10));
    const short = download(repository(registry), layer.bytes.length);
    await assert.rejects(short, kindOf("unavailable", /the answer ended early/));
  });

  it("ends at once when its reader gives up", async () => {
    await using registry = await start();
    const control = new AbortController();
    registry.intercept = (_request, response) => {
      response.writeHead(200, { "content-length": layer.bytes.length });
      response.write(layer.bytes.subarray(0, 10), () => control.abort());
      return true;
    };
    await assert.rejects(download(repository(registry), layer.bytes.length, control.signal), { name: "AbortError" });
  });
});

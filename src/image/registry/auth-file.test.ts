import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { messageOf } from "../../lib/errors.ts";
import { findCredentials, normaliseKey, parseAuthFile } from "./auth-file.ts";
import { parseChallenges } from "./challenge.ts";

const file = parseAuthFile(
  JSON.stringify({
    auths: {
      "https://index.docker.io/v1/": { auth: Buffer.from("hub:p:w").toString("base64") },
      "r.example:5000": { username: "u", password: "p" },
      "r.example:5000/team/app": { identitytoken: "refresh" },
      "empty.example": {},
    },
  }),
  "auth.json",
);

describe("an auth file", () => {
  it("gives the entry with the longest matching name", () => {
    assert.deepEqual(findCredentials([file], "docker.io", "library/x"), {
      kind: "basic",
      username: "hub",
      password: "p:w",
    });
    assert.deepEqual(findCredentials([file], "r.example:5000", "team"), {
      kind: "basic",
      username: "u",
      password: "p",
    });
    assert.deepEqual(findCredentials([file], "r.example:5000", "team/app/x"), { kind: "identity", token: "refresh" });
    assert.deepEqual(findCredentials([file], "r.example:5000", "team/apple"), {
      kind: "basic",
      username: "u",
      password: "p",
    });
    for (const host of ["r.example", "x.r.example:5000", "empty.example"]) {
      assert.equal(findCredentials([file], host, "team/app"), undefined);
    }
  });

  it("never shows its text in an error", () => {
    for (const text of [
      '{"auths": {"a": secret}}',
      JSON.stringify({ auths: { a: { auth: Buffer.from("secret").toString("base64") } } }),
    ]) {
      assert.throws(
        () => parseAuthFile(text, "auth.json"),
        (error) => /auth\.json/.test(messageOf(error)) && !/secret|c2VjcmV0/.test(messageOf(error)),
      );
    }
  });

  it("may be empty or have no entries", () => {
    for (const text of ["", " \n", "{}", '{"auths":null}', "[]"]) assert.equal(parseAuthFile(text, "f").size, 0);
  });

  it("names hosts in many ways", () => {
    for (const [address, key] of [
      ["https://index.docker.io/v1/", "docker.io"],
      ["registry-1.docker.io", "docker.io"],
      ["docker.io/team", "docker.io/team"],
      ["https://r.example/v2/", "r.example"],
      ["http://r.example:80", "r.example:80"],
    ] as const) {
      assert.equal(normaliseKey(address), key);
    }
  });
});

describe("a WWW-Authenticate header", () => {
  it("is read with several challenges, quotes and commas", () => {
    const read = parseChallenges(
      'Basic realm="a \\"b\\", c", Bearer realm="https://x/t?y=1",service=reg, scope="r:a:pull,push"',
    );
    assert.deepEqual(
      read.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]),
      [
        ["basic", { realm: 'a "b", c' }],
        ["bearer", { realm: "https://x/t?y=1", service: "reg", scope: "r:a:pull,push" }],
      ],
    );
  });

  it("that is nonsense gives nothing, quickly", () => {
    for (const text of ["", ",,,", '="x', '"'.repeat(10_000), "a=".repeat(10_000)]) parseChallenges(text);
  });
});

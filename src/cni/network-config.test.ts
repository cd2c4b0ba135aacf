import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { chooseNetwork, isAtLeast, parseNetworkList } from "./network-config.ts";

const bridge = { type: "bridge", ipam: { type: "host-local" } };
const list = (changes: object = {}) =>
  JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [bridge], ...changes });

describe("parseNetworkList", () => {
  it("reads a configuration list", () => {
    const text = list({
      disableCheck: true,
      disableGC: "true",
      plugins: [bridge, { type: "portmap", capabilities: { portMappings: true, bandwidth: false } }],
    });
    const parsed = parseNetworkList(text);
    assert.equal(parsed.name, "net");
    assert.equal(parsed.cniVersion, "1.0.0");
    assert.equal(parsed.disableCheck, true);
    assert.equal(parsed.disableGC, true);
    assert.equal(parsed.text, text);
    assert.deepEqual(
      parsed.plugins.map(({ type, ipamType, capabilities }) => ({ type, ipamType, capabilities })),
      [
        { type: "bridge", ipamType: "host-local", capabilities: [] },
        { type: "portmap", ipamType: undefined, capabilities: ["portMappings"] },
      ],
    );
  });

  it("wraps a single plugin's configuration into a list whose text reads the same again", () => {
    const parsed = parseNetworkList(JSON.stringify({ cniVersion: "0.4.0", name: "one", ...bridge }));
    assert.equal(parsed.plugins[0]?.type, "bridge");
    assert.deepEqual(parseNetworkList(parsed.text), parsed);
  });

  it("takes the newest version that it speaks, and keeps the others for plugins that do not", () => {
    const parsed = parseNetworkList(list({ cniVersions: ["0.4.0", "1.1.0", "9.0.0"] }));
    assert.equal(parsed.cniVersion, "1.1.0");
    assert.deepEqual(parsed.allowedVersions, ["1.1.0", "1.0.0", "0.4.0"]);
  });

  const bad: readonly (readonly [string, RegExp])[] = [
    ["", /^the file is not JSON$/],
    ["[]", /^the file is not a JSON object$/],
    ["[".repeat(100_000), /nested deeper than 64 levels$/],
    [`{"a":"${"x".repeat(1 << 20)}"}`, /larger than 1 MiB$/],
    [list({ name: undefined }), /^"name" is missing$/],
    [list({ name: "../x" }), /^"name" "..\/x" is not a network name/],
    [list({ name: 1 }), /^"name" 1 is not a network name/],
    [list({ cniVersion: undefined }), /^"cniVersion" is missing; use one of 0.3.0/],
    [list({ cniVersion: "0.2.0" }), /^"cniVersion" "0.2.0" is not supported; use one of/],
    [list({ cniVersion: 1 }), /^"cniVersion" is not a string$/],
    [list({ cniVersions: "1.0.0" }), /^"cniVersions" is not a list of strings$/],
    [list({ disableCheck: "yes" }), /^"disableCheck" "yes" is neither true nor false$/],
    [list({ plugins: undefined }), /^"plugins" is missing$/],
    [list({ plugins: {} }), /^"plugins" is not a list$/],
    [list({ plugins: [] }), /^"plugins" is empty$/],
    [list({ plugins: Array(33).fill(bridge) }), /more than 32 entries$/],
    [list({ plugins: ["bridge"] }), /^"plugins\[0\]" is not an object$/],
    [list({ plugins: [bridge, {}] }), /^"plugins\[1\].type" is missing$/],
    [list({ plugins: [{ type: "../bridge" }] }), /^"plugins\[0\].type" "..\/bridge" is not the name of an executable/],
    [list({ plugins: [{ type: ".." }] }), /^"plugins\[0\].type" "\.\." is not the name/],
    [list({ plugins: [{ type: "/bin/sh" }] }), /may not be a path$/],
    [list({ plugins: [{ type: "a", ipam: { type: "x/y" } }] }), /^"plugins\[0\].ipam.type" "x\/y"/],
    [list({ plugins: [{ type: "a", ipam: [] }] }), /^"plugins\[0\].ipam" is not an object$/],
    [list({ plugins: [{ type: "a", capabilities: { dns: "maybe" } }] }), /^"dns" "maybe" is neither/],
  ];
  for (const [text, message] of bad) {
    it(`refuses ${text.slice(0, 90)}`, () => {
      assert.throws(
        () => parseNetworkList(text),
        (error) => {
          assert.ok(error instanceof DomainError);
          assert.equal(error.kind, "invalidArgument");
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it("throws nothing but its own error for any damage to a valid text", () => {
    const text = list({ plugins: [bridge, { type: "portmap", capabilities: { portMappings: true } }] });
    for (let at = 0; at < text.length; at++) {
      for (const change of ["", "}", '"', "0", "null"]) {
        try {
          parseNetworkList(text.slice(0, at) + change + text.slice(at + 1));
        } catch (error) {
          assert.ok(error instanceof DomainError, String(error));
        }
      }
    }
  });
});

describe("chooseNetwork", () => {
  it("takes the first valid file by name and names those before it that are not", () => {
    const { chosen, skipped } = chooseNetwork([
      { name: "30-c.conflist", text: list({ name: "c" }) },
      { name: "20-b.conflist", text: list({ name: "b" }) },
      { name: "10-a.conf", text: "{" },
      { name: "11-fifo.json", problem: "not a regular file" },
      { name: "00-kubeconfig", text: list({ name: "no" }) },
      { name: ".hidden.conflist", text: list({ name: "no" }) },
    ]);
    assert.equal(chosen?.file, "20-b.conflist");
    assert.equal(chosen?.list.name, "b");
    assert.deepEqual(skipped, [
      { name: "10-a.conf", reason: "the file is not JSON" },
      { name: "11-fifo.json", reason: "not a regular file" },
    ]);
  });

  it("chooses nothing among nothing", () => {
    assert.deepEqual(chooseNetwork([]), { chosen: undefined, skipped: [] });
  });
});

describe("isAtLeast", () => {
  it("orders versions as the specification published them", () => {
    assert.equal(isAtLeast("0.3.1", "0.4.0"), false);
    assert.equal(isAtLeast("0.4.0", "0.4.0"), true);
    assert.equal(isAtLeast("1.1.0", "1.0.0"), true);
  });
});

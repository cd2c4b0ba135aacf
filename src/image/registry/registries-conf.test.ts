import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseReference } from "../reference.ts";
import { mergeRegistriesConf, parseRegistriesConf, sourcesOf } from "./registries-conf.ts";

function sources(toml: string, text: string): string[] {
  const found = sourcesOf(parseRegistriesConf(toml, "registries.conf"), parseReference(text));
  return found.map(
    ({ host, path, insecure, isMirror }) => `${host}/${path}${insecure ? " insecure" : ""}${isMirror ? " mirror" : ""}`,
  );
}

const digest = `sha256:${"a".repeat(64)}`;
const mirrored = `
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "m1.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "m2.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "m3.example"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "docker.io/library/private"
location = "own.example/p"
[[registry]]
prefix = "*.corp.example"
insecure = true
[[registry]]
location = "blocked.example"
blocked = true
`;

describe("registries.conf", () => {
  for (const [text, expected] of [
    [
      "busybox",
      [
        "m1.example:5000/hub/library/busybox insecure mirror",
        "m3.example/library/busybox mirror",
        "docker.io/library/busybox",
      ],
    ],
    [
      `busybox@${digest}`,
      [
        "m1.example:5000/hub/library/busybox insecure mirror",
        "m2.example/library/busybox mirror",
        "docker.io/library/busybox",
      ],
    ],
    ["private", ["own.example/p"]],
    [
      "private/x",
      ["m1.example:5000/hub/private/x insecure mirror", "m3.example/private/x mirror", "docker.io/private/x"],
    ],
    [
      "docker.io/library/privateer",
      [
        "m1.example:5000/hub/library/privateer insecure mirror",
        "m3.example/library/privateer mirror",
        "docker.io/library/privateer",
      ],
    ],
    ["a.b.corp.example/x", ["a.b.corp.example/x insecure"]],
    ["corp.example/x", ["corp.example/x"]],
    ["evilcorp.example/x", ["evilcorp.example/x"]],
    ["other.example/x", ["other.example/x"]],
  ] as const) {
    it(`sends ${text.slice(0, 30)} to its sources in order`, () => {
      assert.deepEqual(sources(mirrored, text), expected);
    });
  }

  it("blocks what it says", () => {
    assert.throws(() => sources(mirrored, "blocked.example/x"), /blocked.example is blocked/);
  });

  it("is merged by prefix, later files first", () => {
    const first = parseRegistriesConf('unqualified-search-registries = ["a"]\n[[registry]]\nlocation = "x.y"', "a");
    const second = parseRegistriesConf('[[registry]]\nlocation = "x.y"\ninsecure = true', "b");
    const merged = mergeRegistriesConf([first, second]);
    assert.deepEqual([merged.searchRegistries, merged.registries.map(({ insecure }) => insecure)], [["a"], [true]]);
  });

  for (const [toml, message] of [
    ["a = [", /registries\.conf:1/],
    ["[registries.search]\nregistries = []", /version 1/],
    ["[[registry]]\ninsecure = true", /neither prefix nor location/],
    ['[[registry]]\nprefix = "a.b"', /a\.b has no location/],
    ['[[registry]]\nlocation = "a.b"\ninsecure = "yes"', /insecure must be true or false/],
    ['[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\ninsecure = true', /mirror of a\.b has no location/],
    [
      '[[registry]]\nlocation = "a.b"\n[[registry.mirror]]\nlocation = "c"\npull-from-mirror = "never"',
      /must be "all"/,
    ],
    ['unqualified-search-registries = "a"', /array of strings/],
    ["registry = 5", /\[\[registry\]\]/],
  ] as const) {
    it(`says what is wrong with ${JSON.stringify(toml.slice(0, 40))}`, () => {
      assert.throws(() => parseRegistriesConf(toml, "registries.conf"), message);
    });
  }
});

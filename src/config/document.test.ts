import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { allSettings, configDocument, explain } from "./document.ts";
import { nearest } from "./nearest.ts";

it("docs/CONFIG.md is what the schema says (bin/nacelle config --markdown > docs/CONFIG.md)", () => {
  const committed = readFileSync(join(import.meta.dirname, "../../docs/CONFIG.md"), "utf8");
  assert.equal(committed, configDocument());
});

it("explains a key, a section, and points from a mistyped key to the right one", () => {
  assert.match(
    explain("cni.timeout"),
    /^cni\.timeout: How long one plugin.*\n {2}value: {3}a duration.*\n {2}default: 3m\n/,
  );
  assert.equal(explain("log").match(/^log\./gm)?.length, 2);
  assert.throws(() => explain("cni.timout"), /not found; did you mean cni\.timeout\?/);
});

it("explains every key in a sentence", () => {
  for (const { key, setting } of allSettings()) assert.match(setting.doc, /[.)]$|\w: .+/, key);
});

it("finds the word that was meant", () => {
  const words = ["serve", "status", "config", "check", "version"];
  assert.equal(nearest("sevre", words), "serve");
  assert.equal(nearest("stats", words), "status");
  assert.equal(nearest("Config", words), "config");
  assert.equal(nearest("frobnicate", words), undefined);
});

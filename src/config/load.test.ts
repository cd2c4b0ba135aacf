import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { checkConfig } from "./check.ts";
import { defaultYaml } from "./document.ts";
import { loadConfig, parseConfig } from "./load.ts";

const errors: readonly (readonly [yaml: string, message: string])[] = [
  ["cni:\n  confdir: /x", "f.yaml:2: unknown key cni.confdir; did you mean cni.confDir?"],
  [
    "cni:\n\n  # why\n  timeout: abc",
    'f.yaml:4: cni.timeout: expected a duration like 500ms, 30s, 3m or 1m30s, not "abc"',
  ],
  ["a: [", "f.yaml:1: not YAML: unexpected end of the stream within a flow collection"],
  ["log:\n  level: wran", 'f.yaml:2: log.level: "wran" is not one of error, warn, info, debug; did you mean warn?'],
  ["cni: []", "f.yaml:1: cni: expected a map of confDir, binDirs, timeout, maxConcurrent"],
  ["listen: foo", 'f.yaml:1: listen: expected an absolute path, not "foo"'],
  ["root: /a/../b", 'f.yaml:1: root: expected an absolute path, not "/a/../b"'],
  ["x: &a 1\ny: *a", "f.yaml:2: anchors and aliases are not understood here: write the value out"],
  ["listen: !!str /x", "f.yaml:1: tags are not understood here: write the plain value"],
  ["runtimes:\n  kata:\n    pth: x", "f.yaml:3: unknown key runtimes.kata.pth; did you mean runtimes.kata.path?"],
  ["runtimes:\n  kata:\n    root: /x", "f.yaml:2: runtimes.kata: path is missing"],
  [
    "runtimes:\n  Kata!: {path: x}",
    'f.yaml:2: runtimes: "Kata!" is not a handler\'s name (lower-case letters, digits, - and .)',
  ],
  ["log: {level: info}\nlog: {}", "f.yaml:2: key log is given twice"],
  ["root: /a\n---\nroot: /b", "f.yaml:1: holds more than one document"],
  ["images:\n  sync: yes", 'f.yaml:2: images.sync: expected true or false, not "yes"'],
  ["streaming: {port: 70000}", 'f.yaml:1: streaming.port: expected a whole number from 0 to 65535, not "70000"'],
  ["streaming: {port: 1e3}", 'f.yaml:1: streaming.port: expected a whole number from 0 to 65535, not "1e3"'],
  ["defaultUlimits: {nofile: '9:8'}", 'f.yaml:1: defaultUlimits.nofile: expected soft not above hard, not "9:8"'],
  ["cni: {binDirs: /a}", 'f.yaml:1: cni.binDirs: expected a list; each: an absolute path, not "/a"'],
  [
    "logs: {hardLimit: 10MB}",
    'f.yaml:1: logs.hardLimit: expected a size like 500k, 10Mi or 1Gi, or 0 for none, not "10MB"',
  ],
  ["logs: {rate: 0}", 'f.yaml:1: logs.rate: expected a size like 500k, 10Mi or 1Gi, not "0"'],
  ["root: [/a]", "f.yaml:1: root: expected an absolute path, not a list"],
  ["__proto__: {a: b}", "f.yaml:1: unknown key __proto__"],
];

describe("a configuration", () => {
  it("needs no file", () => {
    const config = parseConfig({});
    checkConfig(config);
    assert.equal(config.listen, "/run/nacelle/nacelle.sock");
    assert.equal(config.cni.timeout, 180_000);
    assert.deepEqual(Object.keys(config.runtimes), ["runc", "crun"]);
    assert.deepEqual(config.defaultUlimits.nofile, { soft: 1024, hard: 524_288 });
    assert.deepEqual(parseConfig({ "empty.yaml": "# nothing\n", "null.yaml": "cni:\nlog: ~\n" }), config);
  });

  it("reads its own default file as the defaults", () => {
    assert.deepEqual(parseConfig({ "default.yaml": defaultYaml() }), parseConfig({}));
  });

  it("takes texts, drop-ins and the command line on top of each other, and adds handlers up", () => {
    const main = "cni: {timeout: 1m30s, confDir: /main/}\nruntimes: {kata: {path: /kata, args: [--x]}}";
    const dropIn = "cni: {confDir: /drop}\nruntimes: {crun: {pauseContainer: always}}";
    const config = parseConfig({ main, dropIn }, ["cni.confDir=/set", "cni.binDirs=[/a, '/b']", "log.level=debug"]);
    assert.deepEqual(config.cni, { confDir: "/set", binDirs: ["/a", "/b"], timeout: 90_000, maxConcurrent: 32 });
    assert.deepEqual(Object.keys(config.runtimes), ["runc", "crun", "kata"]);
    assert.deepEqual([config.runtimes.crun?.path, config.runtimes.crun?.pauseContainer], ["crun", "always"]);
    assert.equal(config.log.level, "debug");
  });

  for (const [yaml, message] of errors) {
    it(`says: ${message}`, () => {
      assert.throws(() => parseConfig({ "f.yaml": yaml }), { name: "DomainError", kind: "invalidArgument", message });
    });
  }

  it("names the argument when the command line is wrong", () => {
    assert.throws(() => parseConfig({}, ["cni.confDr=/x"]), {
      message: "--set cni.confDr=/x: unknown key cni.confDr; did you mean cni.confDir?",
    });
    assert.throws(() => parseConfig({}, ["novalue"]), {
      message: "--set novalue: expected key=value, like log.level=debug",
    });
    assert.throws(() => parseConfig({}, ["cni.binDirs=[/a"]), /^DomainError: --set cni.binDirs=\[\/a: not YAML/);
  });

  it("is answered by a clear error or by a value, whatever the text is", () => {
    const pieces = [
      "cni",
      ": ",
      "\n  ",
      "- ",
      "[",
      "]",
      "{",
      "}",
      '"',
      "'",
      "&a ",
      "*a",
      "!!map ",
      "|\n",
      ">",
      "#",
      "\t",
      "---\n",
      "<<",
      "~",
      "é",
      "\0",
      "log:\n  level: ",
    ];
    let seed = 1;
    const pick = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return pieces[seed % pieces.length] ?? "";
    };
    for (let round = 0; round < 5000; round += 1) {
      const yaml = Array.from({ length: 1 + (round % 12) }, pick).join("");
      try {
        parseConfig({ fuzz: yaml }, [yaml]);
      } catch (error) {
        assert.ok(
          error instanceof DomainError && error.kind === "invalidArgument",
          `${JSON.stringify(yaml)}: ${String(error)}`,
        );
      }
    }
  });
});

describe("loadConfig", () => {
  it("reads a file, then its drop-ins by name, and says which file is wrong", () => {
    const directory = mkdtempSync(join(tmpdir(), "nacelle-config-"));
    try {
      const file = join(directory, "my.yaml");
      assert.throws(() => loadConfig({ file }), { message: `configuration file ${file} does not exist` });
      writeFileSync(file, "root: /one\nrunDir: /r1\n");
      mkdirSync(`${file}.d`);
      writeFileSync(join(`${file}.d`, "20-b.yaml"), "root: /three\n");
      writeFileSync(join(`${file}.d`, "10-a.yaml"), "root: /two\nrunDir: /r2\n");
      writeFileSync(join(`${file}.d`, "30-c.yml.bak"), "not: read");
      const { root, runDir } = loadConfig({ file, sets: ["log.format=json"] });
      assert.deepEqual([root, runDir], ["/three", "/r2"]);
      writeFileSync(join(`${file}.d`, "20-b.yaml"), "\nrot: /three\n");
      assert.throws(() => loadConfig({ file }), {
        message: `${join(`${file}.d`, "20-b.yaml")}:2: unknown key rot; did you mean root?`,
      });
      writeFileSync(file, "#".repeat(2 << 20));
      assert.throws(() => loadConfig({ file }), /no configuration is that long/);
      assert.throws(() => loadConfig({ file: directory }), /^DomainError: cannot read/);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("checkConfig", () => {
  const wrong: readonly (readonly [set: string, message: RegExp])[] = [
    ["root=/", /^root: must not be the root directory/],
    ["root=/run/nacelle/state", /^root and runDir: .* only one survives a reboot/],
    ["netnsDir=/run/nacelle", /^netnsDir: .* a directory of its own/],
    ["netnsDir=/var/lib", /^netnsDir: .* not that of root/],
    ["listen=/run/nacelle/admin.sock", /^listen: .* is the administrative socket/],
    [`listen=/${"x".repeat(107)}`, /^listen: .* too long for a socket: at most 107 bytes/],
    [`runDir=/${"x".repeat(67)}`, /^runDir: .* too long for a socket: at most 67 bytes/],
    ["cgroupParent=/", /^cgroupParent: expected a path of plain names below the root/],
    ["cgroupParent=/my pods", /^cgroupParent: expected a path of plain names/],
    ["defaultRuntime=kata", /^defaultRuntime: there is no "kata" in runtimes \(runc, crun\)/],
    ["workload.pingGroupRange=all", /two group ids/],
    ["metrics.listen=9400", /expected host:port/],
    ["logs={softLimit: 2Mi, hardLimit: 1Mi}", /^logs.softLimit: above logs.hardLimit/],
  ];
  for (const [set, message] of wrong) {
    it(`refuses ${set.slice(0, 40)}`, () => {
      const check = () => checkConfig(parseConfig({}, [set]));
      assert.throws(check, (error) => error instanceof DomainError && message.test(error.message));
    });
  }

  it("accepts a second server that lives in one directory of its own", () => {
    const sets = ["root=/tmp/x/root", "runDir=/tmp/x/run", "netnsDir=/tmp/x/netns", "listen=/tmp/x/n.sock"];
    checkConfig(parseConfig({}, sets));
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { failedPrecondition } from "../lib/errors.ts";
import { type Invocation, parseArgv } from "./argv.ts";
import type { Command } from "./command.ts";
import { commandNames } from "./commands.ts";
import { configCommand } from "./config-command.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { nacelleVersion, versionCommand } from "./version-command.ts";

function understood(...argv: string[]): Invocation {
  const parsed = parseArgv(argv);
  assert.equal(parsed.kind, "run", parsed.kind === "run" ? "" : parsed.text);
  return parsed.kind === "run" ? parsed.invocation : assert.fail();
}

async function run(command: Command, ...argv: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const io = { out: (text: string) => void out.push(text), err: (text: string) => void err.push(text) };
  const code = await command(understood(...argv), io);
  return { code, out: out.join(""), err: err.join("") };
}

describe("parseArgv", () => {
  it("understands options before, after and within words", () => {
    const one = understood("serve", "--config", "/c.yaml", "--set", "a=b=c", "--set=d=e");
    assert.deepEqual([one.command, one.configFile, one.sets], ["serve", "/c.yaml", ["a=b=c", "d=e"]]);
    const two = understood("status", "-w", "-o", "json");
    assert.deepEqual([two.json, two.watch], [true, true]);
    assert.deepEqual(understood("image", "import", "--", "-odd").operands, ["import", "-odd"]);
    assert.ok(understood("wipe", "--all").flags.has("all"));
    assert.equal(understood("--version").command, "version");
  });

  it("says what is wrong, and what was probably meant", () => {
    const wrong: readonly (readonly [argv: string[], message: RegExp])[] = [
      [[], /^nacelle: a Kubernetes container runtime server\n/],
      [["sevre"], /^nacelle: unknown command "sevre"; did you mean serve\?\n\n.*usage: /s],
      [["serve", "--confg", "x"], /^nacelle serve: unknown option --confg; did you mean --config\?/],
      [["serve", "extra"], /^nacelle serve: unexpected argument "extra"/],
      [["serve", "--config"], /--config needs a value: FILE/],
      [["serve", "--config", "a", "--config=b"], /--config is given twice/],
      [["status", "-o", "yaml"], /--output is one of text, json, not "yaml"/],
      [["wipe", "--all=yes"], /--all takes no value/],
      [["image", "import"], /expected import /],
      [["version", "--__proto__"], /unknown option --__proto__/],
    ];
    for (const [argv, message] of wrong) {
      const parsed = parseArgv(argv);
      assert.ok(parsed.kind === "usage" && message.test(parsed.text), `${argv.join(" ")}: ${JSON.stringify(parsed)}`);
    }
  });

  it("has one line of help for every command, and a page for each", () => {
    const general = parseArgv(["--help"]);
    assert.equal(general.kind, "help");
    for (const name of commandNames) {
      assert.match(general.kind === "help" ? general.text : "", new RegExp(`^ {2}${name} +\\w`, "m"));
      const [page, same] = [parseArgv([name, "--help"]), parseArgv(["help", name])];
      assert.equal(page.kind, "help");
      assert.deepEqual(page, same);
    }
  });
});

describe("nacelle config", () => {
  it("shows what is in force and where it comes from", async () => {
    const { code, out } = await run(configCommand, "config", "--config", "/dev/null", "--set", "log.level=debug");
    assert.equal(code, 0);
    assert.match(out, /^log\.level: debug {2}# --set log\.level=debug$/m);
    assert.match(out, /^cni\.binDirs: \[\/opt\/cni\/bin, \/usr\/lib\/cni\] {2}# default$/m);
  });

  it("answers a wrong configuration with one line and code 3", async () => {
    const { code, err } = await run(configCommand, "config", "--set", "log.levle=x");
    assert.equal(code, exitCodes.badConfiguration);
    assert.equal(err, "nacelle config: --set log.levle=x: unknown key log.levle; did you mean log.level?\n");
    assert.equal((await run(configCommand, "config", "--check", "/absent.yaml")).code, exitCodes.badConfiguration);
    assert.equal((await run(configCommand, "config", "--check", "/dev/null")).out, "/dev/null: valid\n");
  });

  it("explains keys and prints defaults", async () => {
    assert.match((await run(configCommand, "config", "--explain", "listen")).out, /unix socket/);
    assert.equal((await run(configCommand, "config", "--explain", "lisen")).code, exitCodes.failure);
    assert.match((await run(configCommand, "config", "--default")).out, /^listen: \/run\/nacelle\/nacelle\.sock$/m);
  });
});

it("nacelle version says which", async () => {
  assert.match((await run(versionCommand, "version")).out, new RegExp(`^nacelle ${nacelleVersion} `));
  const { nacelle } = JSON.parse((await run(versionCommand, "version", "-o", "json")).out) as { nacelle: string };
  assert.equal(nacelle, nacelleVersion);
});

it("an error carries its exit code, or is a plain failure", () => {
  assert.equal(exitCodeOf(failedPrecondition("used", { reason: "rootInUse" })), 4);
  assert.equal(exitCodeOf(failedPrecondition("used", { reason: "other" })), 1);
  assert.equal(exitCodeOf(new Error("x")), 1);
});

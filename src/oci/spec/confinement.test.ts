import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import type { AppArmorProfile, ContainerSecurity, SelinuxOptions } from "../config.ts";
import { buildAppArmor, requireAppArmor } from "./apparmor.ts";
import { buildSpec } from "./build.ts";
import type { HostFacts } from "./input.ts";
import { sampleConfig, sampleHost, sampleInput, sampleSandbox, sampleSecurity } from "./sample-input.ts";
import { buildSelinux } from "./selinux.ts";

const here = { apparmor: true };
const nowhere = { apparmor: false };
const loaded = "nacelle-default (enforce)\nweb (odd) (complain)\n/usr/bin/man (unconfined)\n";
const runtimeDefault: AppArmorProfile = { type: "runtimeDefault", name: "" };
const unconfined: AppArmorProfile = { type: "unconfined", name: "" };
const named = (name: string): AppArmorProfile => ({ type: "localhost", name });

describe("an AppArmor profile", () => {
  it("is the one that is named, if it is loaded", () => {
    for (const name of ["nacelle-default", "web (odd)", "/usr/bin/man"]) {
      assert.equal(buildAppArmor(named(name), false, here, loaded).value, name);
      assert.equal(buildAppArmor(named(name), true, here, loaded).value, name);
    }
    for (const name of ["web", "nacelle-default (enforce)", "absent"]) {
      assert.throws(() => buildAppArmor(named(name), false, here, loaded), /not loaded on this node/);
    }
  });

  it("is the default one, if that is loaded, where it or nothing is asked for", () => {
    for (const asked of [runtimeDefault, undefined]) {
      assert.equal(buildAppArmor(asked, false, here, loaded).value, "nacelle-default");
      assert.equal(buildAppArmor(asked, true, here, loaded).value, undefined);
    }
    assert.throws(
      () => buildAppArmor(runtimeDefault, false, here, "other (enforce)\n"),
      /nacelle-default is not loaded/,
    );
    const without = buildAppArmor(undefined, false, here, "");
    assert.equal(without.value, undefined);
    assert.match(without.notices.join(), /nacelle-default is not loaded/);
  });

  it("is none where unconfined is asked for", () => {
    assert.deepEqual(buildAppArmor(unconfined, false, here, loaded), { value: undefined, notices: [] });
    assert.deepEqual(buildAppArmor(unconfined, false, nowhere, ""), { value: undefined, notices: [] });
  });

  it("is refused where the kernel has no AppArmor, unless nothing is asked for", () => {
    for (const asked of [runtimeDefault, named("web")]) {
      for (const attempt of [() => buildAppArmor(asked, false, nowhere, ""), () => requireAppArmor(asked, nowhere)]) {
        assert.throws(attempt, (error) => error instanceof DomainError && error.kind === "failedPrecondition");
      }
    }
    assert.deepEqual(buildAppArmor(undefined, false, nowhere, ""), { value: undefined, notices: [] });
    requireAppArmor(unconfined, nowhere);
  });
});

describe("SELinux labels", () => {
  const enabled = { selinux: true };
  const options = (change: Partial<SelinuxOptions> = {}): SelinuxOptions => ({
    ...{ user: "", role: "", type: "", level: "" },
    ...change,
  });

  it("are those asked for, completed as policies for containers name things", () => {
    assert.deepEqual(buildSelinux(options({ level: "s0:c4,c5" }), false, enabled).value, {
      process: "system_u:system_r:container_t:s0:c4,c5",
      mount: "system_u:object_r:container_file_t:s0:c4,c5",
    });
    assert.equal(buildSelinux(options(), true, enabled).value?.process, "system_u:system_r:spc_t:s0");
    const own = options({ user: "u", role: "r", type: "t.x" });
    assert.equal(buildSelinux(own, false, enabled).value?.process, "u:r:t.x:s0");
  });

  it("are refused when they are none", () => {
    for (const level of ["s0", "s0-s15:c0.c1023", "s0:c4,c5", "s1:c1.c3,c9"]) {
      assert.ok(buildSelinux(options({ level }), false, enabled).value?.process.endsWith(`:${level}`));
    }
    for (const level of ["s0,c4,c5", "s16", "s1-s0", "c4", "s0:", "s0:c1024", "s0:c4 ", "s0:c4,c5:x", "S0", "s0-"]) {
      assert.throws(() => buildSelinux(options({ level }), false, enabled), /selinux_options\.level/, level);
    }
    for (const name of ["user", "role", "type"] as const) {
      assert.throws(
        () => buildSelinux(options({ [name]: "a:b" }), false, enabled),
        new RegExp(`selinux_options.${name}`),
      );
    }
  });

  it("are ignored with one line where the kernel has no SELinux, whatever they say", () => {
    const { value, notices } = buildSelinux(options({ level: "s0,c4,c5" }), false, { selinux: false });
    assert.deepEqual([value, notices.length], [undefined, 1]);
    assert.deepEqual(buildSelinux(undefined, false, enabled), { value: undefined, notices: [] });
  });
});

describe("what security modules are told", () => {
  const spec = (security: Partial<ContainerSecurity>, host: Partial<HostFacts>, rest: object = {}) =>
    buildSpec({
      ...sampleInput,
      config: { ...sampleConfig, security: { ...sampleSecurity, ...security } },
      host: { ...sampleHost, ...host },
      loadedProfiles: loaded,
      ...rest,
    }).spec;
  const selinux = { user: "", role: "", type: "", level: "s0:c1,c2" };

  it("stands in the spec, a sandbox's labels where its container has none", () => {
    const { process, linux } = spec({ apparmor: named("web (odd)"), selinux }, { apparmor: true, selinux: true });
    assert.equal(process.apparmorProfile, "web (odd)");
    assert.equal(process.selinuxLabel, "system_u:system_r:container_t:s0:c1,c2");
    assert.equal(linux.mountLabel, "system_u:object_r:container_file_t:s0:c1,c2");
    const inherited = spec({}, { selinux: true }, { sandbox: { ...sampleSandbox, selinux } });
    assert.equal(inherited.process.selinuxLabel, process.selinuxLabel);
  });

  it("is nothing where there are none", () => {
    const { process, linux } = spec({ selinux }, {});
    assert.deepEqual(
      [process.apparmorProfile, process.selinuxLabel, linux.mountLabel],
      [undefined, undefined, undefined],
    );
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { buildSpec } from "./build.ts";
import { buildPauseSpec } from "./pause.ts";
import { sampleConfig, sampleHost, sampleInput, sampleSandbox, sampleSecurity } from "./sample-input.ts";

/** The whole spec of a plain container, without the filter (its own test judges that). */
const GOLDEN = {
  ociVersion: "1.0.2",
  process: {
    terminal: false,
    user: { uid: 0, gid: 0, additionalGids: [0] },
    args: ["/bin/web", "--port", "80"],
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOSTNAME=shop-0"],
    cwd: "/",
    rlimits: [],
    noNewPrivileges: false,
    oomScoreAdj: 0,
  },
  root: { path: "rootfs", readonly: false },
  mounts: [
    "proc /proc proc nosuid,noexec,nodev",
    "tmpfs /dev tmpfs nosuid,strictatime,mode=755,size=65536k",
    "sysfs /sys sysfs nosuid,noexec,nodev,ro",
    "devpts /dev/pts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
    "mqueue /dev/mqueue mqueue nosuid,noexec,nodev",
    "bind /etc/hosts /s/hosts rbind,rw,rprivate,nosuid,nodev,noexec",
    "bind /etc/hostname /s/hostname rbind,rw,rprivate,nosuid,nodev,noexec",
    "bind /etc/resolv.conf /s/resolv.conf rbind,rw,rprivate,nosuid,nodev,noexec",
    "bind /dev/shm /s/shm rbind,rw,rprivate,nosuid,nodev,noexec",
    "cgroup /sys/fs/cgroup cgroup nosuid,noexec,nodev,relatime,ro",
  ],
  annotations: {
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.sandbox-id": "5".repeat(64),
    "io.kubernetes.cri.sandbox-name": "shop",
    "io.kubernetes.cri.sandbox-namespace": "default",
    "io.kubernetes.cri.sandbox-uid": "u-1",
    "io.kubernetes.cri.container-name": "web",
    "io.kubernetes.cri.image-name": "example/web:1",
  },
  namespaces: [
    { type: "mount" },
    { type: "pid" },
    { type: "ipc", path: "/run/nacelle/ipc" },
    { type: "uts", path: "/run/nacelle/uts" },
    { type: "network", path: "/run/netns/n" },
  ],
  linux: {
    cgroupsPath: "/kubepods/podu-1/cccc",
    devices: [],
    sysctl: {},
    maskedPaths: ["/proc/kcore", "/sys/devices/virtual/powercap"],
    readonlyPaths: ["/proc/sys"],
  },
};

test("gives a plain container exactly this spec", () => {
  const { spec, notices } = buildSpec(sampleInput);
  const { capabilities, ...process } = spec.process;
  const { namespaces, resources, seccomp, ...linux } = spec.linux;
  const mounts = spec.mounts.map((one) => `${one.type} ${one.destination} ${one.source} ${one.options.join(",")}`);
  const { ociVersion, root, annotations } = spec;
  assert.deepEqual({ ociVersion, process, root, mounts, annotations, namespaces, linux }, GOLDEN);
  assert.equal(capabilities.bounding.length, 14);
  assert.deepEqual([capabilities.inheritable, capabilities.ambient], [[], []]);
  assert.deepEqual(Object.keys(resources), ["devices"]);
  assert.equal(seccomp?.defaultAction, "SCMP_ACT_ERRNO");
  assert.deepEqual(notices, []);
});

test("is a function of its input alone", () => {
  assert.deepEqual(buildSpec(sampleInput), buildSpec(structuredClone({ ...sampleInput })));
});

test("drops masks, filter and read-only system mounts for a privileged container of a privileged sandbox alone", () => {
  const config = { ...sampleConfig, security: { ...sampleSecurity, privileged: true } };
  assert.throws(() => buildSpec({ ...sampleInput, config }), /sandbox is not/);
  const { spec } = buildSpec({ ...sampleInput, config, sandbox: { ...sampleSandbox, privileged: true } });
  assert.equal(spec.linux.seccomp, undefined);
  assert.deepEqual([spec.linux.maskedPaths, spec.linux.readonlyPaths], [[], []]);
  assert.equal(spec.process.capabilities.bounding.length, 41);
  assert.deepEqual(spec.linux.resources.devices, [{ allow: true, access: "rwm" }]);
  assert.ok(spec.mounts.every(({ options }) => !options.includes("ro")));
});

test("masks the power meters where anything is masked, once, and nothing where nothing is", () => {
  const masked = (maskedPaths: readonly string[]) => {
    const config = { ...sampleConfig, security: { ...sampleSecurity, maskedPaths } };
    return buildSpec({ ...sampleInput, config }).spec.linux.maskedPaths;
  };
  assert.deepEqual(masked(["/proc/kcore"]), ["/proc/kcore", "/sys/devices/virtual/powercap"]);
  assert.deepEqual(masked(["/sys/devices/virtual/powercap"]), ["/sys/devices/virtual/powercap"]);
  assert.deepEqual(masked([]), []);
});

test("hides the host's cgroups on v2, by a namespace, unless privileged", () => {
  const kinds = (privileged: boolean) => {
    const host = { ...sampleHost, cgroupMode: "v2" } as const;
    const config = { ...sampleConfig, security: { ...sampleSecurity, privileged } };
    const sandbox = { ...sampleSandbox, privileged };
    return buildSpec({ ...sampleInput, config, sandbox, host }).spec.linux.namespaces.map(({ type }) => type);
  };
  assert.ok(kinds(false).includes("cgroup"));
  assert.ok(!kinds(true).includes("cgroup"));
});

test("passes on only the annotations that the handler's configuration names", () => {
  const annotations = { "run.oci.x": "1", "dev.gvisor.spec": "2", "io.kubernetes.cri.container-type": "sandbox" };
  const runtime = { ...sampleInput.runtime, allowedAnnotations: ["dev.gvisor.*", "io.kubernetes.cri.*"] };
  const { spec } = buildSpec({ ...sampleInput, config: { ...sampleConfig, annotations }, runtime });
  assert.equal(spec.annotations["run.oci.x"], undefined);
  assert.equal(spec.annotations["dev.gvisor.spec"], "2");
  assert.equal(spec.annotations["io.kubernetes.cri.container-type"], "container");
});

test("has a scope's processes in the scope itself, and a scope that failed forgotten, whatever the pod says", () => {
  const annotations = { "run.oci.systemd.subgroup": "x", "org.systemd.property.CollectMode": "'inactive'" };
  const runtime = { ...sampleInput.runtime, allowedAnnotations: ["*"] };
  const config = { ...sampleConfig, annotations };
  const sandbox = { ...sampleSandbox, annotations };
  const cgroupsPath = "kubepods-podu_1.slice:nacelle:cccc";
  for (const build of [buildSpec, buildPauseSpec]) {
    const { spec } = build({ ...sampleInput, config, sandbox, runtime, cgroupsPath });
    assert.equal(spec.linux.cgroupsPath, cgroupsPath);
    assert.equal(spec.annotations["run.oci.systemd.subgroup"], "");
    assert.equal(spec.annotations["org.systemd.property.CollectMode"], "'inactive-or-failed'");
    const plain = build(sampleInput).spec.annotations;
    assert.ok(Object.keys(plain).every((name) => name.startsWith("io.kubernetes.cri.")));
  }
});

test("says what SELinux options do not do where there is no SELinux", () => {
  const selinux = { user: "", role: "", type: "", level: "s0" };
  const config = { ...sampleConfig, security: { ...sampleSecurity, selinux } };
  assert.match(buildSpec({ ...sampleInput, config }).notices.join(), /selinux_options are ignored/);
});

test("lets a sandbox's own process do nothing but wait", () => {
  const { spec, notices } = buildPauseSpec({
    ...sampleInput,
    namespaces: { ...sampleInput.namespaces, uts: "host" },
    host: { ...sampleHost, minOomScoreAdj: 0 },
  });
  assert.deepEqual(spec.process.args, ["/pause", "pause"]);
  assert.deepEqual(Object.values(spec.process.capabilities).flat(), []);
  assert.equal(spec.process.oomScoreAdj, 0);
  assert.equal(notices.length, 1);
  assert.equal(spec.annotations["io.kubernetes.cri.container-type"], "sandbox");
  assert.ok(spec.root.readonly && spec.process.noNewPrivileges);
});

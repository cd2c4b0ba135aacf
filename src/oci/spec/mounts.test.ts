import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import type { MountRequest } from "../config.ts";
import { buildDevices, isPassableHostDevice } from "./devices.ts";
import type { ResolvedDevice, ResolvedMount, SpecInput } from "./input.ts";
import { buildMounts, imageVolumes } from "./mounts.ts";
import { sampleConfig, sampleHost, sampleInput, sampleSecurity } from "./sample-input.ts";

const PLAIN: MountRequest = {
  containerPath: "/data",
  hostPath: "/host/data",
  readonly: false,
  recursiveReadOnly: false,
  selinuxRelabel: false,
  propagation: "private",
};

function mount(request: Partial<MountRequest>, rest: Partial<ResolvedMount> = {}): ResolvedMount {
  return { request: { ...PLAIN, ...request }, source: "/host/data", ...rest };
}

function build(mounts: readonly ResolvedMount[], rest: Partial<SpecInput> = {}) {
  return buildMounts({ ...sampleInput, mounts, ...rest }).value;
}

function options(request: Partial<MountRequest>, rest: Partial<ResolvedMount> = {}) {
  return build([mount(request, rest)]).mounts.find(({ destination }) => destination === "/data")?.options;
}

test("binds with the propagation and the access asked for", () => {
  assert.deepEqual(options({}), ["rbind", "rprivate", "rw"]);
  assert.deepEqual(options({ readonly: true }), ["rbind", "rprivate", "ro"]);
  assert.deepEqual(options({ propagation: "hostToContainer" }), ["rbind", "rslave", "rw"]);
  assert.deepEqual(options({ propagation: "bidirectional" }), ["rbind", "rshared", "rw"]);
  assert.deepEqual(options({ readonly: true, recursiveReadOnly: true }), ["rbind", "rprivate", "ro", "rro"]);
});

test("passes further options on, and needs no recursion for an image", () => {
  assert.deepEqual(options({ options: ["noexec", "nodev"] }), ["rbind", "rprivate", "rw", "noexec", "nodev"]);
  const image = { image: "tools", userSpecifiedImage: "", runtimeHandler: "", annotations: {} };
  const runtime = {
    ...sampleInput.runtime,
    features: { ...sampleInput.runtime.features, recursiveReadOnlyMounts: false, idmappedMounts: false },
  };
  const asked = mount({ image, hostPath: "", readonly: true, recursiveReadOnly: true });
  const built = build([asked], { runtime }).mounts.find(({ destination }) => destination === "/data");
  assert.deepEqual(built?.options, ["rbind", "rprivate", "ro"]);
});

test("maps the ids of a mount where it is asked for, and refuses that where the runtime cannot", () => {
  const ids = { containerId: 0, hostId: 100_000, length: 65_536 };
  const request = { idMappings: { uids: ids, gids: { ...ids, hostId: 7 } } };
  const mapped = build([mount(request)]).mounts.find(({ destination }) => destination === "/data");
  assert.deepEqual(mapped?.uidMappings, [{ containerID: 0, hostID: 100_000, size: 65_536 }]);
  assert.deepEqual(mapped?.gidMappings, [{ containerID: 0, hostID: 7, size: 65_536 }]);
  const runtime = {
    ...sampleInput.runtime,
    features: { ...sampleInput.runtime.features, recursiveReadOnlyMounts: true, idmappedMounts: false },
  };
  assert.throws(() => build([mount(request)], { runtime }), /mounts\[0\].uidMappings: .*no id-mapped mounts/);
});

test("refuses options that a runtime loses with user namespaces, and says which mounts it does not show", () => {
  const features = { ...sampleInput.runtime.features, wholeBindsWithUsers: false };
  const runtime = { ...sampleInput.runtime, features };
  const namespaces = { ...sampleInput.namespaces, user: "/pins/user" };
  const asked = (request: Partial<MountRequest>) =>
    buildMounts({ ...sampleInput, runtime, namespaces, mounts: [mount(request)] });
  assert.throws(() => asked({ options: ["noexec"] }), /mounts\[0\].mount_options: .*loses them/);
  const { value, notices } = asked({ options: ["noexec"], readonly: true });
  const volume = value.mounts.find(({ destination }) => destination === "/data");
  assert.deepEqual(volume?.options.slice(-2), ["ro", "noexec"]);
  assert.match(notices.join(), /no mounts below a volume/);
  assert.deepEqual(buildMounts({ ...sampleInput, runtime, mounts: [mount({ options: ["noexec"] })] }).notices, []);
});

test("raises the root's propagation no further than a mount needs", () => {
  assert.equal(build([mount({})]).rootfsPropagation, undefined);
  assert.equal(build([mount({ propagation: "hostToContainer" })]).rootfsPropagation, "rslave");
  const both = [
    mount({ propagation: "bidirectional" }),
    mount({ containerPath: "/b", propagation: "hostToContainer" }),
  ];
  assert.equal(build(both).rootfsPropagation, "rshared");
});

test("refuses what it could not honour, naming the mount", () => {
  assert.throws(() => options({ recursiveReadOnly: true }), /mounts\[0\].recursive_read_only.*needs readonly/);
  const rro = { readonly: true, recursiveReadOnly: true };
  assert.throws(() => options({ ...rro, propagation: "bidirectional" }), /PROPAGATION_PRIVATE/);
  const runtime = {
    ...sampleInput.runtime,
    features: { ...sampleInput.runtime.features, recursiveReadOnlyMounts: false, idmappedMounts: false },
  };
  assert.throws(() => build([mount(rro)], { runtime }), /RROUnsupported/);
  assert.throws(() => options({ propagation: "bidirectional" }, { sourcePropagation: "slave" }), /make-rshared/);
  assert.throws(() => options({ propagation: "hostToContainer" }, { sourcePropagation: "private" }), DomainError);
  for (const containerPath of ["", "/", "/a/..", "/a\0"])
    assert.throws(() => options({ containerPath }), /container_path/);
  assert.throws(() => options({}, { source: "relative" }), /host_path/);
});

test("lets a mount of the request replace ours at its path, and all of /dev with /dev", () => {
  const paths = (containerPath: string, source = "/host/data") =>
    build([mount({ containerPath }, { source })]).mounts.map(({ destination }) => destination);
  assert.equal(paths("/etc/hosts/").filter((path) => path === "/etc/hosts").length, 1);
  assert.deepEqual(
    paths("/dev", "/dev").filter((path) => path.startsWith("/dev")),
    ["/dev"],
  );
  assert.equal(paths("/dev/shm").filter((path) => path === "/dev/shm").length, 1);
});

test("takes only the host's own /dev for /dev, unless the container is privileged", () => {
  const dev = mount({ containerPath: "/dev/../dev/" });
  assert.throws(() => build([dev]), /mounts\[0\]\.container_path is \/dev/);
  const config = { ...sampleConfig, security: { ...sampleSecurity, privileged: true } };
  const sandbox = { ...sampleInput.sandbox, privileged: true };
  assert.equal(build([dev], { config, sandbox }).mounts.filter(({ destination }) => destination === "/dev").length, 1);
});

test("mounts parents before children", () => {
  const mounts = ["/a/b/c", "/a", "/sys/fs/cgroup/x", "/a/b"].map((containerPath) => mount({ containerPath }));
  const paths = build(mounts).mounts.map(({ destination }) => destination);
  for (const [index, path] of paths.entries()) {
    assert.ok(!paths.slice(index + 1).some((later) => path.startsWith(`${later}/`)), path);
  }
});

test("makes our files read-only with a read-only root", () => {
  const config = { ...sampleConfig, security: { ...sampleSecurity, readonlyRootfs: true } };
  const { mounts } = build([], { config });
  const access = (path: string) => mounts.find(({ destination }) => destination === path)?.options[1];
  assert.deepEqual(["/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/shm"].map(access), [
    "ro",
    "ro",
    "ro",
    "rw",
  ]);
});

test("lists volumes of the image that nothing else covers", () => {
  assert.deepEqual(imageVolumes(["/b/", "a", "/data", "/a"], ["/data/"]), ["/a", "/b"]);
  assert.throws(() => imageVolumes(["/"], []), DomainError);
  const volumes = [{ containerPath: "/data", hostPath: "/v/1" }];
  assert.equal(build([mount({})], { volumes }).mounts.filter(({ destination }) => destination === "/data").length, 1);
  assert.equal(build([], { volumes }).mounts.at(-1)?.destination !== undefined, true);
});

const FUSE: ResolvedDevice = {
  hostPath: "/dev/fuse",
  containerPath: "/dev/fuse",
  type: "c",
  major: 10,
  minor: 229,
  mode: 0o100666,
  uid: 0,
  gid: 5,
  permissions: "rw",
};

test("makes requested nodes and allows them alone, with the permissions given", () => {
  const { nodes, rules } = buildDevices({ ...sampleInput, devices: [FUSE], hostDevices: [FUSE] });
  assert.deepEqual(nodes, [{ type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 0o666, uid: 0, gid: 5 }]);
  assert.deepEqual(rules[0], { allow: false, access: "rwm" });
  assert.deepEqual(rules.at(-1), { allow: true, type: "c", major: 10, minor: 229, access: "rw" });
  assert.throws(() => buildDevices({ ...sampleInput, devices: [{ ...FUSE, permissions: "rx" }] }), /permissions/);
});

test("mounts a device at another path in a user namespace, where runtimes would take the host's at that path", () => {
  const namespaces = { ...sampleInput.namespaces, user: "/pins/user" };
  const devices = [FUSE, { ...FUSE, containerPath: "/dev/other" }];
  const built = buildDevices({ ...sampleInput, devices, namespaces });
  assert.deepEqual(
    built.nodes.map(({ path }) => path),
    ["/dev/fuse"],
  );
  assert.deepEqual(
    built.mounts.map(({ source, destination }) => [source, destination]),
    [["/dev/fuse", "/dev/other"]],
  );
  assert.deepEqual(buildDevices({ ...sampleInput, devices }).mounts, []);
});

test("gives privileged containers the host's nodes but not those that a container has of its own", () => {
  const config = { ...sampleConfig, security: { ...sampleSecurity, privileged: true } };
  const hostDevices = [FUSE, { ...FUSE, containerPath: "/dev/pts/0" }, { ...FUSE, containerPath: "/dev/console" }];
  const { nodes } = buildDevices({ ...sampleInput, config, hostDevices, host: sampleHost });
  assert.deepEqual(
    nodes.map(({ path }) => path),
    ["/dev/fuse"],
  );
  assert.ok(isPassableHostDevice("/dev/tty1") && isPassableHostDevice("/dev/net/tun"));
  assert.ok(!isPassableHostDevice("/dev/tty") && !isPassableHostDevice("/etc/passwd"));
});

test("refuses mounts that cover what the kernel tells of processes, however the path is spelt", () => {
  for (const containerPath of ["/proc", "/proc/", "/x/../proc", "/proc/sys", "/proc/self/exe", "/proc//1/environ"]) {
    assert.throws(
      () => build([mount({ containerPath })]),
      { kind: "invalidArgument", message: /container_path/ },
      containerPath,
    );
  }
  assert.throws(() => imageVolumes(["/proc/self"], []), DomainError);
});

test("lets a volume stand in for figures below /proc, as LXCFS does", () => {
  assert.ok(
    build([mount({ containerPath: "/proc/meminfo" })]).mounts.some(
      ({ destination }) => destination === "/proc/meminfo",
    ),
  );
});

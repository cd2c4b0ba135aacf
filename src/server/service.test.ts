import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Client, type ServiceError, status } from "@grpc/grpc-js";
import { loadServices } from "./descriptor.ts";
import { connect, FakeNode, failure } from "./server.fixture.ts";

const metadata = { name: "p", uid: "u", namespace: "n", attempt: 2 };

describe("the runtime service", () => {
  it("names itself whatever version the client speaks", async () => {
    await using client = await connect();
    for (const version of ["", "0.1.0", "v1"]) {
      assert.deepEqual(await client.ask.Version({ version }), {
        ...{ version: "0.1.0", runtimeName: "nacelle" },
        ...{ runtimeVersion: "0.1.0", runtimeApiVersion: "v1" },
      });
    }
  });

  it("says its conditions, handlers and configuration", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const quiet = await client.ask.Status({});
    assert.deepEqual(
      quiet.status?.conditions.map(({ type, status: ready, reason }) => [type, ready, reason]),
      [
        ["RuntimeReady", true, ""],
        ["NetworkReady", false, "NoNetworkConfig"],
      ],
    );
    assert.deepEqual(
      quiet.runtimeHandlers.map(({ name }) => name),
      ["", "runc"],
    );
    assert.deepEqual(quiet.info, {});
    const verbose = await client.ask.Status({ verbose: true });
    assert.equal(JSON.parse(verbose.info.config ?? "").stateDir, "/var/lib/nacelle");
    const config = await client.ask.RuntimeConfig({});
    assert.equal(config.linux?.cgroupDriver, "CGROUPFS");
    const networkConfig = { podCidr: "10.1.0.0/24,fd00::/64" };
    await client.ask.UpdateRuntimeConfig({ runtimeConfig: { networkConfig } });
    await client.ask.UpdateRuntimeConfig({});
    assert.equal(node.podCidr, "10.1.0.0/24,fd00::/64");
  });

  it("echoes a sandbox in status and list", async () => {
    await using client = await connect();
    const labels = { app: "web", ["__proto__"]: "polluted", "": "empty" };
    const linux = { securityContext: { namespaceOptions: { network: "NODE", pid: "CONTAINER" } } } as const;
    const config = { metadata, labels, annotations: { "a/b": "line\nbreak" }, linux };
    const { podSandboxId } = await client.ask.RunPodSandbox({ config, runtimeHandler: "crun" });
    const prefix = podSandboxId.slice(0, 4);
    const request = { podSandboxId: prefix, verbose: true };
    const { status: sandbox, info, timestamp } = await client.ask.PodSandboxStatus(request);
    assert.deepEqual(sandbox?.metadata, metadata);
    assert.deepEqual(Object.entries(sandbox?.labels ?? {}).sort(), Object.entries(labels).sort());
    assert.deepEqual(sandbox?.annotations, { "a/b": "line\nbreak" });
    assert.equal(sandbox?.runtimeHandler, "crun");
    assert.deepEqual(sandbox?.network, { ip: "10.1.0.2", additionalIps: [{ ip: "fd00::2" }] });
    const options = { network: "NODE", pid: "CONTAINER", ipc: "POD", targetId: "", usernsOptions: null };
    assert.deepEqual(sandbox?.linux?.namespaces?.options, options);
    assert.equal(JSON.parse(info.info ?? "").inode, "4026531840");
    assert.ok(BigInt(timestamp) >= BigInt(sandbox?.createdAt ?? 0) && BigInt(sandbox?.createdAt ?? 0) > 10n ** 18n);
    const { items } = await client.ask.ListPodSandbox({ filter: { id: prefix } });
    assert.deepEqual(
      items.map(({ id, state }) => [id, state]),
      [[podSandboxId, "SANDBOX_READY"]],
    );
  });

  it("succeeds to stop and remove what is not there, and only that", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const uuid = "0b3a3c1e-1b1f-4c0e-9c7e-5b7f7a2a9f10";
    for (const id of [uuid, "f".repeat(64), "../..", "F".repeat(64)]) {
      assert.deepEqual(await client.ask.StopPodSandbox({ podSandboxId: id }), {});
      assert.deepEqual(await client.ask.RemovePodSandbox({ podSandboxId: id }), {});
      assert.deepEqual(await client.ask.StopContainer({ containerId: id }), {});
      assert.deepEqual(await client.ask.RemoveContainer({ containerId: id }), {});
    }
    const { code } = await failure(client.ask.PodSandboxStatus({ podSandboxId: uuid }));
    assert.equal(code, status.NOT_FOUND);
  });

  it("gives what a command printed byte by byte, and its exit code without an error", async () => {
    await using client = await connect();
    const [containerId] = await twoContainers(client.ask);
    const result = await client.ask.ExecSync({ containerId, cmd: ["sh", "-c", "|| é"] });
    assert.deepEqual([result.stdout.toString(), [...result.stderr], result.exitCode], ["sh -c || é", [0, 255], 3]);
  });

  it("lists containers by every filter", async () => {
    const node = new FakeNode();
    await using client = await connect(node);
    const [first, second] = await twoContainers(client.ask);
    await client.ask.StartContainer({ containerId: first });
    const sandbox = node.containers.get(first)?.sandboxId ?? "";
    const list = async (filter: object) => {
      const { containers } = await client.ask.ListContainers({ filter });
      return containers.map(({ id }) => id);
    };
    assert.deepEqual(await list({}), [first, second]);
    assert.deepEqual(await list({ id: first.slice(0, 6) }), [first]);
    assert.deepEqual(await list({ id: "ffff" }), []);
    assert.deepEqual(await list({ id: "no-hex" }), []);
    assert.deepEqual(await list({ state: { state: "CONTAINER_RUNNING" } }), [first]);
    assert.deepEqual(await list({ state: { state: "CONTAINER_CREATED" } }), [second]);
    assert.deepEqual(await list({ podSandboxId: sandbox.slice(0, 8) }), [first, second]);
    assert.deepEqual(await list({ podSandboxId: "ffff" }), []);
    assert.deepEqual(await list({ labelSelector: { n: "1" } }), [second]);
    assert.deepEqual(await list({ labelSelector: { toString: "1" } }), []);
    const error = await failure(client.ask.ListContainers({ filter: { id: "000" } }));
    assert.equal(error.code, status.INVALID_ARGUMENT);
    assert.match(error.details, /filter\.id .* ambiguous/);
  });

  it("answers every other call UNIMPLEMENTED with its name", async () => {
    await using client = await connect();
    const served = new Set(
      "Version Status RuntimeConfig UpdateRuntimeConfig RunPodSandbox StopPodSandbox RemovePodSandbox PodSandboxStatus ListPodSandbox StreamPodSandboxes CreateContainer StartContainer StopContainer RemoveContainer ListContainers StreamContainers ContainerStatus ExecSync Exec Attach PortForward ReopenContainerLog ContainerStats ListContainerStats StreamContainerStats PodSandboxStats ListPodSandboxStats StreamPodSandboxStats ListMetricDescriptors ListPodSandboxMetrics StreamPodSandboxMetrics UpdateContainerResources UpdatePodSandboxResources CheckpointContainer CheckpointPod RestorePod ListImages StreamImages ImageStatus PullImage RemoveImage ImageFsInfo GetContainerEvents".split(
        " ",
      ),
    );
    const methods = Object.values(loadServices()).flatMap((service) => Object.entries(service));
    const others = methods.filter(([name]) => !served.has(name));
    assert.equal(others.length, 43 - served.size);
    for (const [name, { path }] of others) {
      const error = await ending(client.runtime, path);
      assert.equal(error?.code, status.UNIMPLEMENTED, name);
      assert.equal(error?.details, `${name} is not implemented`);
    }
  });
});

describe("checkpoints", () => {
  it("of a pod are refused with the reason and what to do", async () => {
    await using client = await connect();
    for (const call of [
      client.ask.CheckpointPod({ outputPath: "/a" }),
      client.ask.RestorePod({ checkpointPath: "/a" }),
    ]) {
      const error = await failure(call);
      assert.equal(error.code, status.UNIMPLEMENTED);
      assert.match(error.details, /is not implemented: .{40}/);
    }
  });

  it("are written only to the absolute path of a file", async () => {
    await using client = await connect();
    const [containerId] = await twoContainers(client.ask);
    const write = (location: string) => client.ask.CheckpointContainer({ containerId, location });
    await write("/var/lib/kubelet/checkpoints/one.tar");
    for (const location of ["", "one.tar", "/", "/a/", "/a//b", "/a/./b", "/a/../b", "/a\0b"]) {
      const error = await failure(write(location), location);
      assert.equal(error.code, status.INVALID_ARGUMENT, location);
      assert.match(error.details, /^location /);
    }
  });
});

describe("the image service", () => {
  it("pulls for a sandbox that has labels and no name, and shows one message by every name", async () => {
    await using client = await connect();
    const image = { image: "localhost:5000/test:latest" };
    const request = { image, auth: {}, sandboxConfig: { labels: { a: "b" } } };
    const { imageRef } = await client.ask.PullImage(request);
    const [byTag, byId] = await Promise.all(
      [image.image, imageRef].map((name) => client.ask.ImageStatus({ image: { image: name } })),
    );
    assert.deepEqual(byTag, byId);
    const { images } = await client.ask.ListImages({ filter: { image } });
    assert.deepEqual(
      images.map(({ id, size, uid, username }) => [id, size, uid, username]),
      [[imageRef, "5000000000", { value: "1000" }, ""]],
    );
    const none = { filter: { image: { image: "absent" } } };
    assert.deepEqual((await client.ask.ListImages(none)).images, []);
  });

  it("has no image to show for one that is absent, and removes it all the same", async () => {
    await using client = await connect();
    const request = { image: { image: "absent:1" } };
    const { image, info } = await client.ask.ImageStatus({ ...request, verbose: true });
    assert.deepEqual([image, info], [null, {}]);
    assert.deepEqual(await client.ask.RemoveImage(request), {});
  });

  it("measures the same file system for images and containers", async () => {
    await using client = await connect();
    const { imageFilesystems, containerFilesystems } = await client.ask.ImageFsInfo({});
    assert.deepEqual(imageFilesystems, containerFilesystems);
    assert.deepEqual(imageFilesystems[0]?.fsId, { mountpoint: "/var/lib/nacelle" });
  });
});

type Ask = Awaited<ReturnType<typeof connect>>["ask"];

async function twoContainers(ask: Ask): Promise<[string, string]> {
  const { podSandboxId } = await ask.RunPodSandbox({ config: { metadata } });
  const create = async (n: string) => {
    const config = { metadata: { name: `c${n}` }, image: { image: "busybox" }, labels: { n } };
    return (await ask.CreateContainer({ podSandboxId, config })).containerId;
  };
  return [await create("0"), await create("1")];
}

/** How a call without a request's fields ends, whether it answers once or streams. */
function ending(client: Client, path: string): Promise<ServiceError | undefined> {
  const { promise, resolve } = Promise.withResolvers<ServiceError | undefined>();
  const call = client.makeServerStreamRequest(
    path,
    () => Buffer.alloc(0),
    (value) => value,
    {},
  );
  call.on("data", () => {});
  call.on("end", () => resolve(undefined));
  call.on("error", (error) => resolve(error as ServiceError));
  return promise;
}

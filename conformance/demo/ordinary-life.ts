import assert from "node:assert/strict";
import { join } from "node:path";
import { type Executed, type Pod, page, Signal } from "./pods.ts";
import { images, type Stage } from "./stage.ts";

/** The cast after the first chapters: a runc pod with two containers, a crun pod with one. */
export interface Cast {
  readonly shop: Pod;
  readonly web: string;
  readonly worker: string;
  readonly tellWorker: Signal;
  readonly api: Pod;
  readonly httpd: string;
}

const workerScript = `echo "the page, over the pod's own loopback:"
wget -q -O - http://127.0.0.1/
echo "a line for standard error" >&2
read -r word </told/fifo
echo "I was told: $word"
exit 7`;

export async function pull({ narrator, cri }: Stage): Promise<void> {
  narrator.chapter("Images are pulled");
  for (const image of Object.values(images)) {
    await narrator.step(
      `${image} is pulled`,
      async () => {
        const { imageRef } = await cri.call("PullImage", { image: { image } });
        const { images: listed } = await cri.call("ListImages", { filter: { image: { image } } });
        assert.deepEqual(
          listed.map(({ repoTags }) => repoTags),
          [[image]],
        );
        assert.match(imageRef, /sha256:[0-9a-f]{64}/);
        return listed[0]?.id ?? "";
      },
      (id: string) => `${image} is ${id.slice(0, 19)}…`,
    );
  }
}

export async function runPods(stage: Stage): Promise<Cast> {
  const { narrator, pods, server } = stage;
  narrator.chapter("A runc pod with two containers, a crun pod with one");
  const shop = await runPod(stage, "shop", "runc");
  const web = await narrator.step("shop/web runs nginx", () => pods.start(shop, "web", { image: images.nginx }));
  await fetched(stage, shop);
  const tellWorker = await Signal.make(join(server.paths.folder, "told"));
  const worker = await narrator.step("shop/worker runs a shell beside it", () =>
    pods.start(shop, "worker", {
      image: images.busybox,
      command: ["sh", "-c", workerScript],
      mounts: [{ hostPath: tellWorker.folder, containerPath: "/told" }],
    }),
  );
  const api = await runPod(stage, "api", "crun");
  const httpd = await narrator.step("api/httpd runs busybox's httpd", () =>
    pods.start(api, "httpd", { image: images.httpd }),
  );
  await fetched(stage, api);
  return { shop, web, worker, tellWorker, api, httpd };
}

function runPod({ narrator, pods }: Stage, name: string, handler: string): Promise<Pod> {
  return narrator.step(
    `pod ${name} runs under ${handler}`,
    () => pods.run(name, handler),
    (pod: Pod) => `pod ${name} is ready under ${handler}, at ${pod.ip}`,
  );
}

async function fetched({ narrator }: Stage, { name, ip }: Pod): Promise<void> {
  await narrator.step(`http://${ip}/ is ${name}'s page`, async () => {
    assert.equal(await page(`http://${ip}/`), "<p>it works\n");
  });
}

export async function logsAndExec({ narrator, pods, leftovers }: Stage, cast: Cast): Promise<void> {
  narrator.chapter("Logs, and commands in containers");
  const log = await narrator.step("shop/worker's log has both streams, and the page that web serves", async () => {
    const text = await pods.log(cast.shop, "worker", "for standard error");
    assert.match(text, /^\S+ stdout F <p>it works$/m);
    assert.match(text, /^\S+ stderr F a line for standard error$/m);
    return text;
  });
  narrator.quote(log);
  await narrator.step(
    "a command in shop/web",
    async () => {
      const result = await pods.exec(cast.web, "hostname");
      assert.deepEqual(result, { stdout: "shop\n", stderr: "", exitCode: 0 });
      return result;
    },
    ({ stdout, exitCode }: Executed) => `hostname in shop/web prints "${stdout.trim()}", exit code ${exitCode}`,
  );
  await narrator.step(
    "a failing command in api/httpd",
    async () => {
      const result = await pods.exec(cast.httpd, "sh", "-c", "echo no such luck >&2; exit 3");
      assert.deepEqual(result, { stdout: "", stderr: "no such luck\n", exitCode: 3 });
      return result;
    },
    ({ stderr, exitCode }: Executed) => `a failing command in api/httpd says "${stderr.trim()}", exit code ${exitCode}`,
  );
  await narrator.step(
    "the pods hold something of each kind",
    () => leftovers.whilePodsRun(),
    (held: string) => `the pods hold ${held}`,
  );
}

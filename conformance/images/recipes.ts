import {
  type BuiltImage,
  type ImageShape,
  imageOf,
  type Layer,
  layerOf,
  ownArchitecture,
  type RunConfig,
} from "./oci.ts";
import { busyboxSystem, compiled, file, httpdServer, nginxServer } from "./rootfs.ts";
import type { LayerEntry } from "./tar.ts";

/** An image and every full reference it is served under. */
export interface NamedImage {
  readonly references: readonly string[];
  readonly image: BuiltImage;
}

const suite = "gcr.io/k8s-staging-cri-tools";
const e2e = "registry.k8s.io/e2e-test-images";
const gzipOci: ImageShape = { format: "oci", list: false };
const ociIndex: ImageShape = { format: "oci", list: true };
const docker: ImageShape = { format: "docker", list: false };
const dockerList: ImageShape = { format: "docker", list: true };
const shell: RunConfig = { Cmd: ["sh"] };

/** The base system, packed once per format, and how an image is stacked on it. */
class Stack {
  readonly #base: { readonly oci: Layer; readonly docker: Layer };

  constructor(base: readonly LayerEntry[]) {
    this.#base = { oci: layerOf(base, "oci", "gzip"), docker: layerOf(base, "docker", "gzip") };
  }

  image(
    entries: readonly LayerEntry[],
    config: RunConfig,
    shape: ImageShape,
    codec: "gzip" | "zstd" = "gzip",
  ): BuiltImage {
    const own = entries.length === 0 ? [] : [layerOf(entries, shape.format, codec)];
    return imageOf([this.#base[shape.format], ...own], config, shape);
  }

  /** The base and one file, whose name makes it an image of its own. */
  marked(name: string, shape: ImageShape = gzipOci): BuiltImage {
    return this.image([file(name, `${name}\n`)], shell, shape);
  }
}

/** Every image that critest names, less the one that it pins by a digest, in all the forms that registries serve. */
export async function allImages(): Promise<NamedImage[]> {
  const base = await busyboxSystem();
  const stack = new Stack(base);
  const pause = await compiled("pause", "pause", 0o755);
  const named = (reference: string, image: BuiltImage): NamedImage => ({ references: [reference], image });
  return [
    {
      references: [`${e2e}/busybox:1.29-2`, "docker.io/library/busybox:latest"],
      image: stack.image([], shell, ociIndex),
    },
    ...(await servers(stack, base)),
    named(
      `${e2e}/nonewprivs:1.3`,
      stack.image([await compiled("nnp", "usr/local/bin/nnp", 0o6755)], { Cmd: ["nnp"] }, dockerList),
    ),
    {
      references: ["registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"],
      image: imageOf([layerOf([pause], "oci", "gzip")], { Entrypoint: ["/pause"], User: "65535:65535" }, ociIndex),
    },
    ...markedImages(stack),
    ...userImages(stack),
  ];
}

async function servers(stack: Stack, base: readonly LayerEntry[]): Promise<NamedImage[]> {
  const foreground: RunConfig = { Cmd: ["nginx", "-g", "daemon off;"] };
  const nginx = stack.image(await nginxServer(80, base), foreground, docker);
  const onHost = stack.image(await nginxServer(12003, base), foreground, ociIndex);
  const httpd = stack.image(await httpdServer(), { Cmd: ["httpd-foreground"] }, gzipOci, "zstd");
  return [
    { references: [`${e2e}/nginx:1.14-2`], image: nginx },
    { references: [`${suite}/hostnet-nginx-${ownArchitecture}:latest`], image: onHost },
    { references: [`${e2e}/httpd:2.4.39-4`], image: httpd },
  ];
}

function markedImages(stack: Stack): NamedImage[] {
  const same = stack.marked("same-image", ociIndex);
  return [
    { references: [`${suite}/test-image-tag:test`], image: stack.marked("test", ociIndex) },
    { references: [`${suite}/test-image-tag:all`], image: stack.marked("all", docker) },
    { references: [`${suite}/test-image-latest:latest`], image: stack.marked("latest", dockerList) },
    { references: [1, 2, 3].map((tag) => `${suite}/test-image-tags:${tag}`), image: same },
    ...[1, 2, 3].map((number) => ({
      references: [`${suite}/test-image-${number}:latest`],
      image: stack.marked(`test-image-${number}`),
    })),
  ];
}

function userImages(stack: Stack): NamedImage[] {
  const users = { uid: "1002", username: "www-data", "uid-group": "1003:1004", "username-group": "www-data:1004" };
  const members = [
    file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/home/default-user:/bin/sh\n"),
    file("etc/group", "root:x:0:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"),
  ];
  return [
    ...Object.entries(users).map(([name, User]) => ({
      references: [`${suite}/test-image-user-${name}:latest`],
      image: stack.image([], { ...shell, User }, gzipOci),
    })),
    {
      references: [`${suite}/test-image-predefined-group:latest`],
      image: stack.image(members, { ...shell, User: "1000" }, docker),
    },
  ];
}
